/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An estimate of how a call sounds: the E-model (ITU-T G.107) with what a forwarder sees of it, as a mean opinion score.
 *
 *     R   = 93.2 - Id - Ie_eff          93.2: R0 - Is with all of G.107's defaults; no advantage factor
 *     Id  = 0.024 d + 0.11 (d - 177.3)  the second part only above 177.3 ms; delay impairment without echo, as
 *                                       Cole and Rosenbluth ("Voice over IP performance monitoring", 2001) simplified it
 *     Ie_eff = 95 P / (P + 25.1)        P: lost packets in percent, at random (BurstR 1); Ie 0 and Bpl 25.1 of ITU-T G.113
 *                                       appendix I: a codec without impairment of its own that conceals losses
 *     d   = round trip / 2 + 2 jitter + 30 ms
 *                                       the way, a buffer of twice the jitter, and 30 ms to frame, code and play
 *     MOS = 1 + 0.035 R + 7e-6 R (R - 60) (100 - R)
 *
 * What it does not know: the codec and its rate, bursts of losses, losses and delays beyond client and agent, the sound itself. It is for
 * comparing calls and for noticing those that go bad. Pure; any thread.
 */
#pragma once

struct rtc_mos_input {
	double loss_ratio;    /* 0 to 1 */
	double jitter_ms;     /* RFC 3550 appendix A.8 */
	double round_trip_ms; /* between client and agent; 0 when it is not known */
};

#define RTC_MOS_MIN 1.0
#define RTC_MOS_MAX 4.5

double rtc_mos(const struct rtc_mos_input *input);

/* G.107's annex B: an R of 0 to 100 as a score. */
double rtc_mos_of_rating(double rating);
