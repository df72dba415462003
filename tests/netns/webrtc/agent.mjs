// SPDX-License-Identifier: Apache-2.0
// An agent of node-datachannel that sends audio back. Reads a line of JSON for each call from standard input,
//     {"name": …, "offer": SDP, "fragment": …, "port": …}
// and says {"name": …, "answer": SDP}, later {"name": …, "state": …}. The fragment is the agent's own choice of ICE user fragment.
import readline from "node:readline";
import nodeDataChannel from "node-datachannel";

const [address] = process.argv.slice(2);
const calls = new Map();

function say(message) {
	process.stdout.write(JSON.stringify(message) + "\n");
}

function open({name, offer, fragment, port}) {
	const peer = new nodeDataChannel.PeerConnection(name, {
		iceServers: [], bindAddress: address, portRangeBegin: port, portRangeEnd: port, disableAutoNegotiation: true});
	const call = {peer, tracks: [], received: 0};
	calls.set(name, call);
	peer.onStateChange(state => say({name, state}));
	peer.onGatheringStateChange(state => {
		if (state === "complete")
			say({name, answer: peer.localDescription().sdp});
	});
	peer.onTrack(track => {
		call.tracks.push(track);
		track.onMessage(packet => {
			call.received++;
			track.sendMessageBinary(packet);
		});
	});
	peer.setRemoteDescription(offer, "offer");
	peer.setLocalDescription("answer", fragment ? {iceUfrag: fragment, icePwd: "0123456789abcdefghijklmn"} : undefined);
}

readline.createInterface({input: process.stdin}).on("line", line => {
	const order = JSON.parse(line);
	if (order.offer)
		open(order);
	else
		say({name: order.name, received: calls.get(order.name).received});
}).on("close", () => process.exit(0));
say({ready: true});
