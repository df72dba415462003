/* SPDX-License-Identifier: Apache-2.0 */
#include "base/lib/verdict_text.h"

static const char *const drop_names[DROP_COUNT] = {
#define DROP(name, sentence) [DROP_##name] = #name,
#include "base/packet/drops.def"
#undef DROP
};

static const char *const drop_sentences[DROP_COUNT] = {
#define DROP(name, sentence) [DROP_##name] = sentence,
#include "base/packet/drops.def"
#undef DROP
};

static const char *const drop_advices[DROP_COUNT] = {
#define ADVICE(name, sentence) [DROP_##name] = sentence,
#include "base/lib/drop_advice.def"
#undef ADVICE
};

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[VERDICT_COUNT] = {"pass", "tx", "redirect", "drop", "hold"};

	return verdict < VERDICT_COUNT ? names[verdict] : "invalid";
}

const char *function_name(enum function function)
{
	static const char *const names[FUNCTION_COUNT] = {"parse", "vip", "lb", "rtc", "dns"};

	return function < FUNCTION_COUNT ? names[function] : "invalid";
}

const char *drop_name(enum drop_reason reason)
{
	return reason < DROP_COUNT ? drop_names[reason] : "invalid";
}

const char *drop_sentence(enum drop_reason reason)
{
	return reason < DROP_COUNT ? drop_sentences[reason] : "invalid";
}

const char *drop_advice(enum drop_reason reason)
{
	if (reason == DROP_NONE || reason >= DROP_COUNT)
		return NULL;
	return drop_advices[reason] ? drop_advices[reason] :
				      "Noise, or a broken sender: `selvage trace --filter drops` shows who sends such packets.";
}
