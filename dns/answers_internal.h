/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind answers.h share. */
#pragma once

#include "dns/answers.h"

/* Takes out answers by their names; how many. */
typedef bool answers_filter(const struct dns_name *name, void *context);
size_t answers_remove_where(struct answers *answers, answers_filter *filter, void *context);

/* --- names that were flushed since the file was written: answers_flushed.c ---------------------------------------------------- */

/* Whether some are noted beside the file. */
bool flushed_is_there(const char *path);
/* Takes their answers out. 0 or -errno: then nobody knows what was flushed. */
must_check int flushed_apply(struct answers *answers, const char *path, struct error *error);
/* The file is written anew, without them; it is on disk. */
void flushed_forget(const char *path);
/* An entry that was made or renamed in the file's directory is on disk when this returns. 0 or -errno. */
must_check int directory_sync(const char *path);
