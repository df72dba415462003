/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer target: any bytes as a request to selvage-dpdk, the first one being how many descriptors come with them. What is
 * taken is safe to act on; what is refused has a sentence.
 */
#include <assert.h>
#include <string.h>

#include "dataplane/control_channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct channel_message message;
	struct error error = {0};
	size_t fds;

	if (size == 0)
		return 0;
	fds = data[0] % (CHANNEL_FDS_MAX + 1);
	if (channel_request_check(data + 1, size - 1, fds, &error) < 0) {
		assert(error.text[0]);
		return 0;
	}
	assert(size - 1 == sizeof(message));
	memcpy(&message, data + 1, sizeof(message));
	assert(message.version == CHANNEL_VERSION && message.kind && message.kind < CHANNEL_KIND_END);
	assert(strnlen(message.device, sizeof(message.device)) < sizeof(message.device));
	assert(message.port_count <= CHANNEL_PORTS_MAX);
	if (message.kind == CHANNEL_TABLES)
		assert(fds == CHANNEL_TABLES_MAX && message.tick_ns && message.epoch_shift < 32 &&
		       message.counter_first < message.counter_sets);
	else
		assert(fds == 0);
	return 0;
}
