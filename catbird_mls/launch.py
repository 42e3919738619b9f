"""Turn this process into another program, perhaps as another user, that ends when its parent does.

``python launch.py SIGNAL PARENT UID GID PROGRAM ARGUMENT...``; a UID of ``-`` keeps the user. A
program of its own, because code that runs between fork and exec is not safe beside threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(signum: str, parent: str, uid: str, gid: str, *argv: str) -> None:
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # Only Linux can do this, and a change of user takes it back, so it comes after.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the parent ended before its child began")
    # The interpreter ignores these two, and the program would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execv(argv[0], argv)  # noqa: S606 - being a launcher is its purpose


if __name__ == "__main__":
    main(*sys.argv[1:])
