"""Plays the cases and prints what came of them. Exit code 1 where one of them fails."""

import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import http1
import http2
import kept
import logs
import memory
import peers
import shots
import stage

SIDE_BY_SIDE = 6
MODULES = (http1, http2, grpc, memory, kept, logs, peers, shots)  # each registers its cases when it is imported
HEAD = f"{'attack':<62} {'verdict':<7} {'memory':>8} {'honest':>8} {'released':>8} {'descriptors':>12} {'took':>6}"


def main():
    binary, folder, wanted = sys.argv[1], Path(sys.argv[2]).resolve() / "logs", sys.argv[3:]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cases = [c for c in stage.CASES if not wanted or any(name in c.name for name in wanted)]
    if not cases:
        sys.exit("run: no such case; there are:\n  " + "\n  ".join(c.name for c in stage.CASES))
    started, results = time.monotonic(), []
    print(HEAD)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        quiet = [pool.submit(stage.play, c, binary, folder) for c in cases if c.quiet]
        results += [shown(playing.result()) for playing in quiet]
    results += [shown(stage.play(c, binary, folder)) for c in cases if not c.quiet]
    failed = [result for result in results if result.wrong]
    print(f"\n{len(results)} attacks, {len(failed)} failed, {time.monotonic() - started:.0f} s")
    for result in failed:
        print(f"\nFAILED {result.case.name}\n  {' '.join((result.case.attack.__doc__ or '').split())}")
        print("\n".join(f"  - {wrong}" for wrong in result.wrong))
    if failed:
        print(f"\nthe nodes' logs are in {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(bool(failed))


def shown(result):
    seconds = lambda value: "-" if value is None else f"{value:.2f} s"
    before, after = result.descriptors
    print(
        f"{result.case.name:<62} {'FAILED' if result.wrong else 'ok':<7} {result.peak_mib:>4.0f} MiB "
        f"{seconds(result.latency_s):>8} {seconds(result.release_s):>8} "
        f"{f'{before} -> {after}':>12} {result.took_s:>4.0f} s",
        flush=True,
    )
    return result


if __name__ == "__main__":
    main()
