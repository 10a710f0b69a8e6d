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
    from moto.core.exceptions import JsonRESTError
    from moto.core.responses import BaseResponse
    from moto.kms.exceptions import AccessDeniedException

    # moto looks whether a name is taken and then takes it, in many threads: AWS does that in one step, and so does one at a time.
    one_at_a_time = threading.RLock()
    call_action = BaseResponse.call_action

    def call_action_alone(self):
        with one_at_a_time:
            return call_action(self)

    BaseResponse.call_action = call_action_alone

    # moto has AWS's words for a ciphertext that is of no key here, and does not send them.
    AccessDeniedException.__init__ = lambda self, message: JsonRESTError.__init__(
        self, "AccessDeniedException", message
    )
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
