"""Runs a module as a program until it ends, or until whoever started it is gone: standard input ends with them,
however they ended."""

import os
import runpy
import shutil
import sys
import threading


def watch() -> None:
    while os.read(0, 4096):
        pass
    # More than once: the program still runs beside us and may write.
    while os.path.exists(os.environ["TMPDIR"]):
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    os._exit(0)


threading.Thread(target=watch, daemon=True).start()
sys.argv = sys.argv[1:]
if sys.argv[0] == "moto.server":
    # moto has AWS's words for a ciphertext that is of no key here, and does not send them.
    from moto.core.exceptions import JsonRESTError
    from moto.kms.exceptions import AccessDeniedException

    AccessDeniedException.__init__ = lambda self, message: JsonRESTError.__init__(
        self, "AccessDeniedException", message
    )
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
