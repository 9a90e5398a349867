"""Functions in processes of their own, on the `slowfast` of any tree; run as a script, the file is such a process.

The function's file is loaded by its path, and everything that it imports of `slowfast` comes from the tree asked for.
So this file imports nothing of `slowfast` at its top.
"""

import importlib.util
import inspect
import multiprocessing
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch

THIS_TREE = Path(__file__).resolve().parents[2]


class SeparateProcess:
    """A function that lives in a process of its own, with a memory heap of its own.

    Args:
        make: makes it there from `args`; a function at the top of its file, and picklable arguments.
        keeps_memory: whether freed memory is kept there as the engine's CPU runs do.
        tree: the checkout whose `slowfast` is imported there.
    """

    def __init__(self, make: Callable[..., Callable], *args, keeps_memory: bool, tree: Path = THIS_TREE):
        self.calls, theirs = multiprocessing.Pipe()
        command = [sys.executable, __file__, str(tree.resolve()), str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        # Where its `slowfast` was imported from.
        self.imported = self.ask((torch.get_num_threads(), keeps_memory, inspect.getfile(make), make.__name__, args))

    def __call__(self, *arguments) -> tuple[float, float]:
        """Runs the function; its seconds by the clock on the wall and of CPU time, as measured there."""
        return self.ask(arguments)

    def ask(self, question: tuple):
        try:
            self.calls.send(question)
            error, answer = self.calls.recv()
        except (EOFError, ConnectionError):
            raise RuntimeError(
                f"A benchmark's process ended with exit code {self.process.wait()}. -9 is often a lack of memory: "
                "try a smaller --batch."
            ) from None
        if error:
            raise RuntimeError(error)
        return answer

    def close(self) -> None:
        self.calls.close()
        self.process.wait()


def serve(calls: Connection, tree: Path) -> None:
    """Makes the function that the first question describes; then each question calls it with its arguments."""
    function = answered(calls, lambda *question: prepared(tree, *question), lambda made: imported_from(tree))
    while function:
        answered(calls, lambda *arguments: spent(function, *arguments), lambda seconds: seconds)


def answered(calls: Connection, work: Callable, answer: Callable):
    """Answers one question with (what went wrong, the answer); returns what `work` made of it. Ends with the caller."""
    try:
        question = calls.recv()
    except EOFError:
        sys.exit()
    try:
        result = work(*question)
        calls.send((None, answer(result)))
        return result
    except Exception:
        calls.send((traceback.format_exc(), None))


def prepared(tree: Path, threads: int, keeps_memory: bool, file: str, name: str, args: tuple) -> Callable:
    imported_from(tree)
    torch.set_num_threads(threads)
    if keeps_memory:
        from slowfast.utils.memory import keep_freed_memory

        keep_freed_memory()
    spec = importlib.util.spec_from_file_location(f"measured_{Path(file).stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)(*args)


def imported_from(tree: Path) -> str:
    """The file of the imported `slowfast`.

    Raises:
        ImportError: it is another tree's, such as an installed one.
    """
    import slowfast

    if Path(slowfast.__file__).resolve().parents[1] != tree:
        raise ImportError(f"slowfast was imported from {slowfast.__file__}, not from {tree}")
    return slowfast.__file__


def spent(function: Callable, *arguments) -> tuple[float, float]:
    """Seconds on the wall and of CPU time; a CUDA device finishes its work in them."""
    synchronize = torch.cuda.synchronize if torch.cuda.is_initialized() else lambda: None
    synchronize()
    start, cpu_start = time.perf_counter(), time.process_time()
    function(*arguments)
    synchronize()
    return time.perf_counter() - start, time.process_time() - cpu_start


if __name__ == "__main__":
    sys.path[0] = sys.argv[1]  # before an installed copy, and instead of this file's folder
    serve(Connection(int(sys.argv[2])), Path(sys.argv[1]))
