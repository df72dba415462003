/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for rtc_program.h in the tests of this folder: sessions in plain memory, rows taken in order, what was asked is
 * counted. For one test program each.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "rtc/rtc_program.h"

#define FAKE_FRAGMENTS 4

struct rtc_program {
	struct rtc_tables tables;
	struct rtc_sessions sessions;
	char fragments[64][FAKE_FRAGMENTS][260]; /* of the first rows */
	uint16_t agent_ports[64];
	unsigned int adds, restarts, ends;
	char password[600]; /* the last that was told: fragment, password */
	char srtp[600];     /* likewise: fragment, key */
	uint32_t rows; /* that may be taken; then -ENOSPC */
};

static inline struct rtc_program *fake_program(void)
{
	struct rtc_program *program = aligned_alloc(64, (sizeof(*program) + 63) / 64 * 64);

	memset(program, 0, sizeof(*program));
	for (uint32_t i = 0; i < RTC_SESSION_ROWS - 1; i++)
		program->tables.free.rows[i] = i + 1;
	program->tables.free.tail = RTC_SESSION_ROWS - 1;
	program->rows = 63;
	return program;
}

static inline uint32_t fake_take(struct rtc_program *program)
{
	return program->tables.free.rows[program->tables.free.head++ & (RTC_SESSION_ROWS - 1)];
}

uint32_t rtc_program_find(const struct rtc_program *program, uint16_t service_row, const char *ufrag)
{
	for (uint32_t row = 1; row < 64; row++) {
		uint8_t state = program->sessions.rows[row].state;

		for (int i = 0; i < FAKE_FRAGMENTS; i++)
			if ((state == RTC_SESSION_WAITING || state == RTC_SESSION_LIVE) && program->sessions.rows[row].service == service_row &&
			    strcmp(program->fragments[row][i], ufrag) == 0)
				return row;
	}
	return 0;
}

bool rtc_program_end(struct rtc_program *program, uint32_t row, uint32_t now_ms)
{
	program->ends++;
	program->sessions.rows[row].state = RTC_SESSION_ENDED;
	return true;
}

int rtc_program_add(struct rtc_program *program, uint16_t service_row, const char *ufrag, uint16_t backend_row, uint16_t agent_port,
		    uint32_t now_ms, uint32_t *ret_row, struct error *error)
{
	uint32_t row = rtc_program_find(program, service_row, ufrag);

	program->adds++;
	if (row && (program->sessions.rows[row].backend != backend_row || program->agent_ports[row] != agent_port)) {
		rtc_program_end(program, row, now_ms);
		row = 0;
	}
	if (!row) {
		if (program->rows == 0)
			return error_set(error, ENOSPC, "no rows");
		program->rows--;
		row = fake_take(program);
		program->sessions.rows[row] = (struct rtc_session){.state = RTC_SESSION_WAITING, .service = service_row, .backend = backend_row};
		program->agent_ports[row] = agent_port;
		memset(program->fragments[row], 0, sizeof(program->fragments[row]));
		strcpy(program->fragments[row][0], ufrag);
	}
	*ret_row = row;
	return 0;
}

int rtc_program_restart(struct rtc_program *program, uint32_t row, const char *ufrag, struct error *error)
{
	program->restarts++;
	for (int i = 0; i < FAKE_FRAGMENTS; i++) {
		if (!*program->fragments[row][i]) {
			strcpy(program->fragments[row][i], ufrag);
			return 0;
		}
	}
	return error_set(error, ENOSPC, "no room");
}

int rtc_program_srtp(struct rtc_program *program, uint32_t row, const char *ufrag, const struct srtp_key *key)
{
	char text[SRTP_KEY_TEXT_SIZE];

	snprintf(program->srtp, sizeof(program->srtp), "%s %s", ufrag, key ? srtp_key_format(key, text) : "none");
	return 0;
}

int rtc_program_password(struct rtc_program *program, uint32_t row, const char *ufrag, const char *password)
{
	snprintf(program->password, sizeof(program->password), "%s %s", ufrag, password ? password : "none");
	return 0;
}

bool rtc_program_read(const struct rtc_program *program, uint32_t row, uint32_t now_ms, struct rtc_session_info *ret_info)
{
	const struct rtc_session *session = &program->sessions.rows[row];

	*ret_info = (struct rtc_session_info){
		.row = row,
		.state = (enum rtc_session_state)session->state,
		.service = session->service,
		.rtt_client_ms = UINT16_MAX,
		.rtt_agent_ms = UINT16_MAX,
		.up = {.packets = session->up.packets, .expected = session->up.received + session->up.lost_before, .lost = session->up.lost_before},
	};
	return session->state == RTC_SESSION_LIVE || session->state == RTC_SESSION_WAITING;
}
