"""Two aioice agents talk through a TURN server alone: each sends numbered messages to the other.

Arguments: host, port, transport (udp or tcp), the certificate to trust over TLS (or -), username, password,
messages.
Prints one JSON object: what each side received, and the types of the candidates of the pair.
"""

import asyncio
import json
import ssl
import sys

import aioice


def trusting(certificate):
    """TLS that trusts one certificate. Its name is not compared: the server is given by address."""
    if certificate == "-":
        return False
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    return context


async def main(host, port, transport, certificate, username, password, messages):
    def agent(controlling):
        return aioice.Connection(
            ice_controlling=controlling,
            turn_server=(host, int(port)),
            turn_transport=transport,
            turn_ssl=trusting(certificate),
            turn_username=username,
            turn_password=password,
            transport_policy=aioice.TransportPolicy.RELAY,
        )

    left, right = agent(True), agent(False)
    await asyncio.gather(left.gather_candidates(), right.gather_candidates())
    for one, other in [(left, right), (right, left)]:
        for candidate in one.local_candidates:
            await other.add_remote_candidate(candidate)
        await other.add_remote_candidate(None)
        other.remote_username = one.local_username
        other.remote_password = one.local_password
    await asyncio.gather(left.connect(), right.connect())

    async def talk(one, other):
        received = []
        for number in range(int(messages)):
            # One at a time: a lost message ends the wait, and is missing from the list.
            await one.sendto(number.to_bytes(160, "big"), 1)
            data, _ = await asyncio.wait_for(other.recvfrom(), 10)
            received.append(int.from_bytes(data, "big"))
        return received

    received = [await talk(left, right), await talk(right, left)]
    types = [c.type for one in (left, right) for c in one.local_candidates]
    await asyncio.gather(left.close(), right.close())
    print(json.dumps({"received": received, "types": types}))


asyncio.run(main(*sys.argv[1:]))
