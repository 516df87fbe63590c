"""The command: `python -m sandbox` serves, `python -m sandbox truth PARTNER` prints the truth."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from functools import partial
from pathlib import Path

from aiohttp import web

from sandbox import control, truth
from sandbox.faults import BadRule, parse_rules
from sandbox.moments import month_text, parse_iso, parse_month
from sandbox.server import Settings, StandIn
from sandbox.world import DATA_END, World

STOP_S = 0.3


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the serving command."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9700, help="0 takes a free one")
    parser.add_argument("--port-file", type=Path, help="the port is written here once it listens")
    parser.add_argument("--mail-port", type=int, help="takes mails there; shown at /mail")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="before every answer")
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="added at random, at most")
    parser.add_argument("--rate", type=int, help="searches a second and partner; 0 = no limit")
    faults = "e.g. accounts.search:error:500001:p=0.05; see docs/sandbox.md"
    parser.add_argument("--faults", action="append", default=[], metavar="RULES", help=faults)
    _add_data(parser)
    return parser


def truth_arguments() -> argparse.ArgumentParser:
    """Return the parser of `truth`."""
    parser = argparse.ArgumentParser(prog="python -m sandbox truth")
    parser.add_argument("partner", type=int)
    parser.add_argument("--months", nargs=2, type=_month, metavar=("START", "END"))
    parser.add_argument("--user-key", default="demo-user-key", help="whose sites: visibility")
    _add_data(parser)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--now", type=_moment, default=DATA_END, help="where the data ends")


def _moment(text: str) -> str:
    parse_iso(text)
    return text


def _month(text: str) -> str:
    return month_text(parse_month(text))


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal says stop."""
    stand_in = StandIn(
        Settings(options.seed, options.now, options.latency_ms, options.jitter_ms, options.rate)
    )
    for text in options.faults:
        stand_in.faults.rules += parse_rules(text)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    answer = partial(control.handle, stand_in)
    server = web.Server(answer, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=STOP_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port, backlog=1024).start()
        port = runner.addresses[0][1]
        if options.mail_port is not None:
            make = stand_in.inbox.smtp
            await asyncio.get_running_loop().create_server(make, options.host, options.mail_port)
        if options.port_file:
            _write_whole(options.port_file, f"{port}\n")
        host = f"[{options.host}]" if ":" in options.host else options.host
        print(f"stand-in partner API on http://{host}:{port}", flush=True)
        await stop.wait()
    finally:
        await runner.cleanup()


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader never sees half of it."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)


def main(argv: list[str]) -> int:
    """Run the command; return its exit code."""
    if argv[:1] == ["truth"]:
        options = truth_arguments().parse_args(argv[1:])
        world = World(seed=options.seed, now=options.now)
        months = tuple(options.months) if options.months else None
        answer = truth.report(options.partner, months, user_key=options.user_key, world=world)
        print(json.dumps(answer, ensure_ascii=False, indent=2))
        return 0
    try:
        asyncio.run(serve(arguments().parse_args(argv)))
    except (BadRule, OSError) as error:
        print(f"The stand-in cannot start: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
