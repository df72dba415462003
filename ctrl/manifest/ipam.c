/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/memory.h"
#include "ctrl/manifest/ipam.h"

#include <string.h>

#include "ctrl/manifest/selector.h"

#define FAMILIES_MAX 2

/* --- state ------------------------------------------------------------------------------------------------------------- */

struct pool_range {
	struct address_range range;
	struct address next; /* all before it are taken */
	bool exhausted;
};

struct pool {
	const struct object *object;
	const struct address_pool *spec;
	struct pool_range *ranges;
};

/* One service on one address; users of an address are chained. */
struct user {
	struct address address;
	const struct object *service;
	struct user *next;
};

struct ipam {
	struct pool *pools; /* by namespace and name */
	size_t pool_count;
	const struct object **namespaces; /* by name */
	size_t namespace_count;
	struct user *users;
	size_t user_count;
	struct user **buckets;
	size_t bucket_count; /* a power of two */
};

/* What a service wants, made out once. */
struct wish {
	struct ipam_assignment *assignment;
	const struct object *object;
	const struct service *service;
	enum ip_family families[FAMILIES_MAX]; /* in order of preference */
	bool required[FAMILIES_MAX];           /* the others are welcome */
	size_t family_count;
	bool any_family; /* one address of any family, no more */
};

static void refuse(struct ipam_assignment *assignment, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void refuse(struct ipam_assignment *assignment, const char *format, ...)
{
	va_list arguments;

	free(assignment->refusal);
	va_start(arguments, format);
	if (vasprintf(&assignment->refusal, format, arguments) < 0)
		abort();
	va_end(arguments);
}

static enum ip_family address_family(const struct address *address)
{
	return address_is_ipv4(address) ? IP_FAMILY_IPV4 : IP_FAMILY_IPV6;
}

/* --- who has an address ------------------------------------------------------------------------------------------------ */

static struct user **bucket_of(const struct ipam *ipam, const struct address *address)
{
	uint64_t hash = (address->word[0] ^ address->word[1] * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;

	return &ipam->buckets[(hash >> 32) & (ipam->bucket_count - 1)];
}

static const struct user *user_next(const struct user *user, const struct address *address)
{
	while (user && !address_equal(&user->address, address))
		user = user->next;
	return user;
}

static void user_add(struct ipam *ipam, const struct address *address, const struct object *service)
{
	struct user **bucket = bucket_of(ipam, address);
	struct user *user = &ipam->users[ipam->user_count++];

	*user = (struct user){.address = *address, .service = service, .next = *bucket};
	*bucket = user;
}

/* The port that both use, or NULL. */
static const struct service_port *common_port(const struct service *a, const struct service *b)
{
	for (size_t i = 0; i < a->port_count; i++)
		for (size_t j = 0; j < b->port_count; j++)
			if (a->ports[i].protocol == b->ports[j].protocol && a->ports[i].port <= b->ports[j].port_last &&
			    b->ports[j].port <= a->ports[i].port_last)
				return &a->ports[i];
	return NULL;
}

static bool services_share(const struct service *a, const struct service *b)
{
	return *a->allow_shared_ip && strcmp(a->allow_shared_ip, b->allow_shared_ip) == 0 && !common_port(a, b);
}

/* The first service that keeps `service` from having the address, or NULL. */
static const struct object *address_conflict(const struct ipam *ipam, const struct address *address,
					     const struct service *service)
{
	const struct user *user = user_next(*bucket_of(ipam, address), address);

	for (; user; user = user_next(user->next, address))
		if (!services_share(service, &user->service->service))
			return user->service;
	return NULL;
}

/* --- which pools ------------------------------------------------------------------------------------------------------- */

static const struct object *namespace_lookup(const struct ipam *ipam, const char *name)
{
	for (size_t low = 0, high = ipam->namespace_count; low < high;) {
		size_t middle = (low + high) / 2;
		int order = strcmp(name, ipam->namespaces[middle]->meta.name);

		if (order == 0)
			return ipam->namespaces[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* A namespace has its name as a label, whether written or not. */
static bool namespace_matches(const struct ipam *ipam, const struct label_selectors *selectors, const char *name)
{
	const struct object *namespace = namespace_lookup(ipam, name);
	size_t count = namespace ? namespace->meta.labels.count : 0;
	_cleanup_(freep) struct key_value *labels = memory_or_end(calloc(count + 1, sizeof(*labels)));

	if (count)
		memcpy(labels, namespace->meta.labels.items, count * sizeof(*labels));
	labels[count] = (struct key_value){.key = "kubernetes.io/metadata.name", .value = name};
	return label_selectors_match(selectors, &(struct key_values){.items = labels, .count = count + 1});
}

static bool pool_allows(const struct ipam *ipam, const struct pool *pool, const struct object *service)
{
	const struct address_pool *spec = pool->spec;
	bool by_namespace = spec->namespaces.count || spec->namespace_selectors.count;

	if (by_namespace && !string_list_contains(&spec->namespaces, service->meta.namespace_name) &&
	    !namespace_matches(ipam, &spec->namespace_selectors, service->meta.namespace_name))
		return false;
	return !spec->service_selectors.count || label_selectors_match(&spec->service_selectors, &service->meta.labels);
}

static bool address_is_buggy(const struct address *address)
{
	uint8_t last = ((const uint8_t *)address)[15];

	return address_is_ipv4(address) && (last == 0 || last == 255);
}

static bool pool_holds(const struct pool *pool, const struct address *address)
{
	for (size_t i = 0; i < pool->spec->range_count; i++)
		if (address_compare(&pool->ranges[i].range.first, address) <= 0 &&
		    address_compare(address, &pool->ranges[i].range.last) <= 0)
			return true;
	return false;
}

static struct pool *pool_of_address(const struct ipam *ipam, const struct address *address)
{
	for (size_t i = 0; i < ipam->pool_count; i++)
		if (pool_holds(&ipam->pools[i], address))
			return &ipam->pools[i];
	return NULL;
}

static struct pool *pool_of_name(const struct ipam *ipam, const char *name)
{
	for (size_t i = 0; i < ipam->pool_count; i++)
		if (strcmp(ipam->pools[i].object->meta.name, name) == 0)
			return &ipam->pools[i];
	return NULL;
}

/* Pools with a matching serviceAllocation first, by priority; 0 is no priority and comes last among them. */
static int pool_preference_compare(const void *left, const void *right)
{
	const struct pool *a = *(struct pool *const *)left, *b = *(struct pool *const *)right;

	if (a->spec->allocation_restricted != b->spec->allocation_restricted)
		return a->spec->allocation_restricted ? -1 : 1;
	if (a->spec->priority != b->spec->priority)
		return a->spec->priority - 1 < b->spec->priority - 1 ? -1 : 1;
	return object_compare(a->object, b->object);
}

/* --- one address ------------------------------------------------------------------------------------------------------- */

/* NULL when the service may have this address; otherwise why not is said in its assignment, if `say`. */
static struct pool *address_check(const struct ipam *ipam, const struct wish *wish, const struct address *address, bool say)
{
	struct ipam_assignment *assignment = wish->assignment;
	struct pool *pool = pool_of_address(ipam, address);
	const struct object *conflict = address_conflict(ipam, address, wish->service);
	const struct service_port *port;
	char text[ADDRESS_TEXT_SIZE], reference[OBJECT_REFERENCE_SIZE];

	address_format(address, text);
	if (pool && !conflict && pool_allows(ipam, pool, wish->object) &&
	    !(pool->spec->avoid_buggy_ips && address_is_buggy(address)) &&
	    (!*wish->service->address_pool || strcmp(wish->service->address_pool, pool->object->meta.name) == 0))
		return pool;
	if (!say)
		return NULL;
	if (!pool)
		refuse(assignment, "%s is in no IPAddressPool; add it to one, or ask for another address", text);
	else if (!pool_allows(ipam, pool, wish->object))
		refuse(assignment, "%s belongs to the IPAddressPool \"%s\", whose serviceAllocation excludes this service", text,
		       pool->object->meta.name);
	else if (pool->spec->avoid_buggy_ips && address_is_buggy(address))
		refuse(assignment, "%s ends in .%u, and the IPAddressPool \"%s\" avoids such addresses (avoidBuggyIPs)", text,
		       ((const uint8_t *)address)[15], pool->object->meta.name);
	else if (!conflict)
		refuse(assignment, "%s belongs to the IPAddressPool \"%s\", and metallb.io/address-pool asks for \"%s\"", text,
		       pool->object->meta.name, wish->service->address_pool);
	else if (*wish->service->allow_shared_ip &&
		 strcmp(wish->service->allow_shared_ip, conflict->service.allow_shared_ip) == 0 &&
		 (port = common_port(wish->service, &conflict->service)))
		refuse(assignment, "%s is shared with %s, and both use the port %u/%s", text,
		       object_reference(conflict, reference), port->port, protocol_name_text(port->protocol));
	else
		refuse(assignment,
		       "%s is used by %s; ask for another address, or give both services the same "
		       "metallb.io/allow-shared-ip and different ports",
		       text, object_reference(conflict, reference));
	return NULL;
}

static void address_advance(struct address *address)
{
	uint8_t *bytes = (uint8_t *)address;

	for (int i = 15; i >= 0; i--)
		if (++bytes[i])
			return;
}

static bool address_is_free(const struct ipam *ipam, const struct pool *pool, const struct address *address)
{
	return !user_next(*bucket_of(ipam, address), address) && !(pool->spec->avoid_buggy_ips && address_is_buggy(address));
}

/* The first address of the range that nobody has. What is passed over stays taken, so that this is quick with many services. */
static bool range_take(const struct ipam *ipam, const struct pool *pool, struct pool_range *range, struct address *ret_address)
{
	while (!range->exhausted) {
		struct address address = range->next;

		range->exhausted = address_equal(&address, &range->range.last);
		address_advance(&range->next);
		if (!address_is_free(ipam, pool, &address))
			continue;
		*ret_address = address;
		return true;
	}
	return false;
}

/* An address of the pool whose users all share with the service. */
static bool pool_share(const struct ipam *ipam, const struct pool *pool, const struct wish *wish, enum ip_family family,
		       struct address *ret_address)
{
	bool found = false;

	for (size_t i = 0; *wish->service->allow_shared_ip && i < ipam->user_count; i++) {
		const struct user *user = &ipam->users[i];

		if (address_family(&user->address) != family ||
		    !services_share(wish->service, &user->service->service) || !pool_holds(pool, &user->address) ||
		    address_conflict(ipam, &user->address, wish->service))
			continue;
		if (!found || address_compare(&user->address, ret_address) < 0)
			*ret_address = user->address;
		found = true;
	}
	return found;
}

static bool pool_take(const struct ipam *ipam, struct pool *pool, const struct wish *wish, enum ip_family family,
		      struct address *ret_address)
{
	if (pool_share(ipam, pool, wish, family, ret_address))
		return true;
	for (size_t i = 0; i < pool->spec->range_count; i++)
		if (address_family(&pool->ranges[i].range.first) == family &&
		    range_take(ipam, pool, &pool->ranges[i], ret_address))
			return true;
	return false;
}

static void give(struct ipam *ipam, struct wish *wish, const struct address *address, const struct pool *pool)
{
	struct ipam_assignment *assignment = wish->assignment;

	user_add(ipam, address, wish->object);
	assignment->addresses[assignment->count] = *address;
	assignment->pools[assignment->count++] = pool->object;
}

/* --- families ---------------------------------------------------------------------------------------------------------- */

static void wish_add_family(struct wish *wish, enum ip_family family, bool required)
{
	for (size_t i = 0; i < wish->family_count; i++) {
		if (wish->families[i] != family)
			continue;
		wish->required[i] |= required;
		return;
	}
	wish->required[wish->family_count] = required;
	wish->families[wish->family_count++] = family;
}

static void wish_init(struct wish *wish, struct ipam_assignment *assignment)
{
	const struct service *service = &assignment->service->service;
	bool single = service->ip_family_policy == IP_FAMILY_SINGLE_STACK;
	bool both = service->ip_family_policy == IP_FAMILY_REQUIRE_DUAL_STACK;

	*wish = (struct wish){.assignment = assignment, .object = assignment->service, .service = service};
	for (size_t i = 0; i < service->ip_family_count; i++)
		wish_add_family(wish, service->ip_families[i], single);
	for (size_t i = 0; i < service->requested.count; i++)
		wish_add_family(wish, address_family(&service->requested.items[i]), true);
	if (single && wish->family_count)
		return;
	wish->any_family = single;
	/* what it has tells which family it prefers */
	for (size_t i = 0; i < service->ingress.count && single; i++)
		wish_add_family(wish, address_family(&service->ingress.items[i]), false);
	wish_add_family(wish, IP_FAMILY_IPV4, both);
	wish_add_family(wish, IP_FAMILY_IPV6, both);
}

static const struct address *address_of_family(const struct address_list *list, enum ip_family family)
{
	for (size_t i = 0; i < list->count; i++)
		if (address_family(&list->items[i]) == family)
			return &list->items[i];
	return NULL;
}

/* Whether there is a wish for this very address of the family, or none for the family at all. */
static bool request_agrees(const struct wish *wish, const struct address *address)
{
	const struct address *requested = address_of_family(&wish->service->requested, address_family(address));

	return !requested || address_equal(requested, address);
}

/* --- the three rounds -------------------------------------------------------------------------------------------------- */

/* What the status shows stays, family by family, as long as it is legal. */
static void wish_keep(struct ipam *ipam, struct wish *wish)
{
	for (size_t i = 0; i < wish->family_count; i++) {
		const struct address *present = address_of_family(&wish->service->ingress, wish->families[i]);
		struct pool *pool;

		if (!present || !request_agrees(wish, present) || (wish->any_family && wish->assignment->count))
			continue;
		pool = address_check(ipam, wish, present, false);
		if (pool)
			give(ipam, wish, present, pool);
	}
}

/* The preferred family first, whichever round gave it. */
static void wish_order(struct wish *wish)
{
	struct ipam_assignment *assignment = wish->assignment;
	struct address address = assignment->addresses[0];
	const struct object *pool = assignment->pools[0];

	if (assignment->count < FAMILIES_MAX || address_family(&address) == wish->families[0])
		return;
	assignment->addresses[0] = assignment->addresses[1];
	assignment->pools[0] = assignment->pools[1];
	assignment->addresses[1] = address;
	assignment->pools[1] = pool;
}

static bool assignment_has(const struct ipam_assignment *assignment, enum ip_family family)
{
	for (size_t i = 0; i < assignment->count; i++)
		if (address_family(&assignment->addresses[i]) == family)
			return true;
	return false;
}

static void wish_grant_requested(struct ipam *ipam, struct wish *wish)
{
	for (size_t i = 0; i < wish->service->requested.count && !wish->assignment->refusal; i++) {
		const struct address *address = &wish->service->requested.items[i];
		struct pool *pool;

		if (assignment_has(wish->assignment, address_family(address)))
			continue;
		pool = address_check(ipam, wish, address, true);
		if (pool)
			give(ipam, wish, address, pool);
	}
}

/* Fills `ret_pools` (room for all) with those that may serve the service by themselves, the preferred first. */
static size_t candidates_list(const struct ipam *ipam, const struct wish *wish, struct pool **ret_pools)
{
	const char *wanted = wish->service->address_pool;
	size_t count = 0;

	for (size_t i = 0; i < ipam->pool_count; i++) {
		struct pool *pool = &ipam->pools[i];
		bool chosen = *wanted ? strcmp(pool->object->meta.name, wanted) == 0 : pool->spec->auto_assign;

		if (chosen && pool_allows(ipam, pool, wish->object))
			ret_pools[count++] = pool;
	}
	if (count > 1)
		qsort(ret_pools, count, sizeof(struct pool *), pool_preference_compare);
	return count;
}

static void refuse_without_candidates(const struct ipam *ipam, const struct wish *wish)
{
	const char *wanted = wish->service->address_pool;

	if (!ipam->pool_count)
		refuse(wish->assignment, "there is no IPAddressPool; apply one with addresses for services");
	else if (*wanted && !pool_of_name(ipam, wanted))
		refuse(wish->assignment, "there is no IPAddressPool \"%s\", which metallb.io/address-pool asks for", wanted);
	else if (*wanted)
		refuse(wish->assignment, "the serviceAllocation of the IPAddressPool \"%s\" excludes this service", wanted);
	else
		refuse(wish->assignment, "no IPAddressPool gives addresses to this service by itself (autoAssign, "
					 "serviceAllocation); ask for an address or name a pool");
}

/* `family` is "IPv4 ", "IPv6 " or "": any. */
static void refuse_exhausted(const struct wish *wish, const char *family)
{
	if (*wish->service->address_pool)
		refuse(wish->assignment, "the IPAddressPool \"%s\" has no free %saddress left", wish->service->address_pool,
		       family);
	else
		refuse(wish->assignment, "no IPAddressPool with autoAssign has a free %saddress left for this service", family);
}

static void wish_grant_family(struct ipam *ipam, struct wish *wish, enum ip_family family, struct pool **pools, size_t count)
{
	struct address address;

	for (size_t i = 0; i < count; i++) {
		if (!pool_take(ipam, pools[i], wish, family, &address))
			continue;
		give(ipam, wish, &address, pools[i]);
		return;
	}
}

static void wish_grant_automatic(struct ipam *ipam, struct wish *wish)
{
	_cleanup_(freep) struct pool **pools = memory_or_end(calloc(ipam->pool_count + 1, sizeof(*pools)));
	struct ipam_assignment *assignment = wish->assignment;
	size_t count;

	if (assignment->refusal || (wish->any_family && assignment->count) || assignment->count == wish->family_count)
		return;
	count = candidates_list(ipam, wish, pools);
	if (!count) {
		refuse_without_candidates(ipam, wish);
		return;
	}
	for (size_t i = 0; i < wish->family_count; i++) {
		enum ip_family family = wish->families[i];

		if (assignment_has(assignment, family) || (wish->any_family && assignment->count))
			continue;
		wish_grant_family(ipam, wish, family, pools, count);
		if (wish->required[i] && !assignment_has(assignment, family) && !assignment->refusal)
			refuse_exhausted(wish, family == IP_FAMILY_IPV4 ? "IPv4 " : "IPv6 ");
	}
	if (!assignment->count && !assignment->refusal)
		refuse_exhausted(wish, "");
}

/* --- the whole --------------------------------------------------------------------------------------------------------- */

static int name_compare(const void *left, const void *right)
{
	return object_compare(*(const struct object *const *)left, *(const struct object *const *)right);
}

static int pool_name_compare(const void *left, const void *right)
{
	return object_compare(((const struct pool *)left)->object, ((const struct pool *)right)->object);
}

static int assignment_name_compare(const void *left, const void *right)
{
	return object_compare(((const struct ipam_assignment *)left)->service, ((const struct ipam_assignment *)right)->service);
}

/* RFC 3339 in UTC, as stores write it, orders as text. */
static int wish_age_compare(const void *left, const void *right)
{
	const struct object *a = ((const struct wish *)left)->object, *b = ((const struct wish *)right)->object;
	const char *a_time = a->meta.creation_timestamp, *b_time = b->meta.creation_timestamp;
	int order;

	if (!*a_time != !*b_time)
		return *a_time ? -1 : 1;
	order = strcmp(a_time, b_time);
	return order ? order : object_compare(a, b);
}

static void pool_init(struct pool *pool, const struct object *object)
{
	const struct address_pool *spec = &object->address_pool;

	*pool = (struct pool){.object = object, .spec = spec};
	pool->ranges = memory_or_end(calloc(spec->range_count + 1, sizeof(*pool->ranges)));
	for (size_t i = 0; i < spec->range_count; i++)
		pool->ranges[i] = (struct pool_range){.range = spec->ranges[i], .next = spec->ranges[i].first};
}

static void ipam_init(struct ipam *ipam, const struct object *const *objects, size_t count)
{
	size_t services = 0;

	*ipam = (struct ipam){.bucket_count = 64};
	ipam->pools = memory_or_end(calloc(count + 1, sizeof(*ipam->pools)));
	ipam->namespaces = memory_or_end(calloc(count + 1, sizeof(*ipam->namespaces)));
	for (size_t i = 0; i < count; i++) {
		services += objects[i]->kind == OBJECT_SERVICE;
		if (objects[i]->kind == OBJECT_NAMESPACE)
			ipam->namespaces[ipam->namespace_count++] = objects[i];
		if (objects[i]->kind == OBJECT_ADDRESS_POOL)
			pool_init(&ipam->pools[ipam->pool_count++], objects[i]);
	}
	qsort(ipam->pools, ipam->pool_count, sizeof(*ipam->pools), pool_name_compare);
	qsort(ipam->namespaces, ipam->namespace_count, sizeof(*ipam->namespaces), name_compare);
	while (ipam->bucket_count < 2 * FAMILIES_MAX * services)
		ipam->bucket_count *= 2;
	ipam->buckets = memory_or_end(calloc(ipam->bucket_count, sizeof(*ipam->buckets)));
	ipam->users = memory_or_end(calloc(FAMILIES_MAX * services + 1, sizeof(*ipam->users)));
}

static void ipam_done(struct ipam *ipam)
{
	for (size_t i = 0; i < ipam->pool_count; i++)
		free(ipam->pools[i].ranges);
	free(ipam->pools);
	free(ipam->namespaces);
	free(ipam->buckets);
	free(ipam->users);
}

static void result_init(struct ipam_result *result, const struct object *const *objects, size_t count)
{
	*result = (struct ipam_result){.items = memory_or_end(calloc(count + 1, sizeof(*result->items)))};
	for (size_t i = 0; i < count; i++)
		if (objects[i]->kind == OBJECT_SERVICE && objects[i]->service.type == SERVICE_LOAD_BALANCER)
			result->items[result->count++].service = objects[i];
	qsort(result->items, result->count, sizeof(*result->items), assignment_name_compare);
}

/* Another controller's service is not ours to serve. */
static bool class_is_ours(const char *class_name)
{
	return !*class_name || strncmp(class_name, "selvage.io/", 11) == 0 || strncmp(class_name, "metallb.io/", 11) == 0;
}

void ipam_assign(const struct object *const *objects, size_t count, struct ipam_result *ret_result)
{
	_cleanup_(freep) struct wish *wishes = NULL;
	size_t wish_count = 0;
	struct ipam ipam;

	ipam_init(&ipam, objects, count);
	result_init(ret_result, objects, count);
	wishes = memory_or_end(calloc(ret_result->count + 1, sizeof(*wishes)));
	for (size_t i = 0; i < ret_result->count; i++) {
		struct ipam_assignment *assignment = &ret_result->items[i];
		const char *class_name = assignment->service->service.load_balancer_class;

		if (class_is_ours(class_name))
			wish_init(&wishes[wish_count++], assignment);
		else
			refuse(assignment, "the loadBalancerClass \"%s\" belongs to another load balancer", class_name);
	}
	qsort(wishes, wish_count, sizeof(*wishes), wish_age_compare);
	for (size_t i = 0; i < wish_count; i++)
		wish_keep(&ipam, &wishes[i]);
	for (size_t i = 0; i < wish_count; i++)
		wish_grant_requested(&ipam, &wishes[i]);
	for (size_t i = 0; i < wish_count; i++)
		wish_grant_automatic(&ipam, &wishes[i]);
	for (size_t i = 0; i < wish_count; i++)
		wish_order(&wishes[i]);
	ipam_done(&ipam);
}

void ipam_result_done(struct ipam_result *result)
{
	for (size_t i = 0; i < result->count; i++)
		free(result->items[i].refusal);
	free(result->items);
	*result = (struct ipam_result){0};
}

const struct ipam_assignment *ipam_result_lookup(const struct ipam_result *result, const char *namespace_name,
						 const char *name)
{
	for (size_t low = 0, high = result->count; low < high;) {
		size_t middle = (low + high) / 2;
		const struct object_meta *meta = &result->items[middle].service->meta;
		int order = strcmp(namespace_name, meta->namespace_name);

		if (!order)
			order = strcmp(name, meta->name);
		if (!order)
			return &result->items[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
