/* SPDX-License-Identifier: Apache-2.0 */
/* The programs of edge_bench.bpf.c under BPF_PROG_TEST_RUN. */
#include <bpf/bpf.h>
#include <string.h>

#include "ebpf/loader.h"
#include "edge_bench.skel.h"
#include "tests/perf/bench_host.h"

struct host_xdp {
	struct bench_host host; /* first */
	struct loader *loader;
	struct edge_bench *programs;
	int config_map;
};

static int program_fd(const struct host_xdp *self, enum bench_program program)
{
	switch (program) {
	case BENCH_EMPTY:
		return bpf_program__fd(self->programs->progs.bench_empty);
	case BENCH_SWAP:
		return bpf_program__fd(self->programs->progs.bench_swap);
	case BENCH_RESTORE:
		return bpf_program__fd(self->programs->progs.bench_restore);
	case BENCH_EDGE:
		break;
	}
	return bpf_program__fd(self->programs->progs.bench_edge);
}

static int xdp_time(struct bench_host *host, enum bench_program program, const struct bench_case *bench, uint32_t repeat,
		    double *ret_ns, enum verdict *ret_verdict, struct error *error)
{
	static const enum verdict verdicts[] = {[XDP_ABORTED] = VERDICT_COUNT, [XDP_DROP] = VERDICT_DROP,
						[XDP_PASS] = VERDICT_PASS,     [XDP_TX] = VERDICT_TX,
						[XDP_REDIRECT] = VERDICT_REDIRECT};
	struct host_xdp *self = (struct host_xdp *)host;
	struct bench_config config = bench->vary;
	uint8_t out[512];
	uint32_t zero = 0;
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = bench->frame, .data_size_in = bench->length, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = (int)repeat);

	store_once(host->tables.config->ingress_override, bench->link);
	config.length = bench->length;
	memcpy(config.frame, bench->frame, BENCH_FRAME_BYTES);
	if (bpf_map_update_elem(self->config_map, &zero, &config, BPF_ANY) < 0 ||
	    bpf_prog_test_run_opts(program_fd(self, program), &options) < 0)
		return error_set(error, errno, "running packets through the XDP program: %s", strerror(errno));
	*ret_ns = options.duration;
	*ret_verdict = options.retval < array_length(verdicts) ? verdicts[options.retval] : VERDICT_COUNT;
	if (options.data_size_out != bench->length ||
	    (program != BENCH_SWAP && memcmp(out, bench->frame, bench->length) != 0))
		return error_set(error, EINVAL, "%s: the packet is not as it was before", bench->name);
	return 0;
}

static void xdp_free(struct bench_host *host)
{
	struct host_xdp *self = (struct host_xdp *)host;

	edge_bench__destroy(self->programs);
	loader_close(self->loader);
	free(self);
}

int bench_host_xdp(struct bench_host **ret_host, struct error *error)
{
	struct host_xdp *self = calloc(1, sizeof(*self));
	struct bench_host *host = (struct bench_host *)self;
	int code;

	if (!self)
		return error_set(error, ENOMEM, "no memory");
	code = loader_open(NULL, &self->loader, error);
	if (code < 0) {
		free(self);
		return code;
	}
	self->programs = edge_bench__open();
	code = self->programs ? loader_share_maps(self->loader, self->programs->obj, error) :
				error_set(error, errno, "reading the benchmark's programs: %s", strerror(errno));
	if (code == 0 && (code = edge_bench__load(self->programs)) < 0)
		error_set(error, -code, "loading the benchmark's programs: %s", strerror(-code));
	host->name = "xdp";
	host->tables = *loader_tables(self->loader);
	host->counter_sets = loader_counter_sets(self->loader);
	host->time = xdp_time;
	host->free = xdp_free;
	if (code < 0) {
		xdp_free(host);
		return code;
	}
	self->config_map = bpf_map__fd(self->programs->maps.bench_config);
	*ret_host = host;
	return 0;
}
