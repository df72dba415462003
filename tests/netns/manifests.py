# SPDX-License-Identifier: Apache-2.0
"""Manifests for tests, as YAML streams (JSON is YAML)."""
import json

POOL = {
    "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
    "metadata": {"name": "lan", "namespace": "metallb-system"},
    "spec": {"addresses": ["192.0.2.128/25", "2001:db8:0:1::100-2001:db8:0:1::1ff"]},
}


def advertisement(**labels):
    """The pool is announced by the nodes with these labels; by default those with edge=true."""
    return {
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": {"name": "lan", "namespace": "metallb-system"},
        "spec": {"ipAddressPools": ["lan"], "nodeSelectors": [{"matchLabels": labels or {"edge": "true"}}]},
    }


def vips(number):
    """The virtual IPs of a service, both in the pool (128 to 255)."""
    return f"192.0.2.{number}", f"2001:db8:0:1::1{number:02x}"


def service(name, number, ports, annotations=None, **spec):
    """`ports`: "80/TCP", "80/TCP:8080" (with targetPort)."""
    rows = []
    for text in ports:
        port, _, target = text.partition(":")
        port, protocol = port.split("/")
        rows.append({"name": f"p{port}-{protocol.lower()}", "port": int(port), "protocol": protocol}
                    | ({"targetPort": int(target)} if target else {}))
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "annotations": {"metallb.io/loadBalancerIPs": ",".join(vips(number)),
                                                   **{f"selvage.io/{key}": str(value) for key, value in (annotations or {}).items()}}},
        "spec": {"type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"],
                 "ports": rows, **spec},
    }


def slices(of, backends, weights=None):
    """EndpointSlices of a service for namespaces with address4 and address6; ports are the service's targets."""
    ports = [{"name": each["name"], "port": each.get("targetPort", each["port"]), "protocol": each["protocol"]}
             for each in of["spec"]["ports"]]
    name = of["metadata"]["name"]
    result = []
    for family, attribute in (("IPv4", "address4"), ("IPv6", "address6")):
        each = {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-{family.lower()}", "labels": {"kubernetes.io/service-name": name}},
            "addressType": family, "ports": ports,
            "endpoints": [{"addresses": [getattr(backend, attribute)]} for backend in backends],
        }
        if weights:
            each["metadata"]["annotations"] = {"selvage.io/weights": ",".join(
                f"{getattr(backend, attribute)}={weight}" for backend, weight in zip(backends, weights))}
        result.append(each)
    return result


def stream(*objects):
    flat = []
    for each in objects:
        flat.extend(each if isinstance(each, list) else [each])
    return "\n---\n".join(json.dumps(each, indent=1) for each in flat) + "\n"
