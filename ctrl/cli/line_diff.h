/* SPDX-License-Identifier: Apache-2.0 */
/* A unified diff of two texts, three lines of context. Pure but for the printing. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* False, and nothing printed, when the texts are equal. */
bool line_diff_print(FILE *file, const char *old_name, const char *old_text, const char *new_name, const char *new_text);
