/* SPDX-License-Identifier: Apache-2.0 */
/* Names of verdicts, functions and drop reasons, as metrics and JSON carry them. Pure; any thread. */
#pragma once

#include "base/packet/verdict.h"

const char *verdict_name(enum verdict verdict);    /* "tx" */
const char *function_name(enum function function); /* "lb" */
const char *drop_name(enum drop_reason reason);    /* "vip_not_owned"; NULL for DROP_NONE */
const char *drop_sentence(enum drop_reason reason); /* for the operator; NULL for DROP_NONE */
const char *drop_advice(enum drop_reason reason);   /* what to do next; NULL for DROP_NONE */
