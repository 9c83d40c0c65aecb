"""Machines: the hostfile's mistakes, the command that goes to ssh, and a job over a real sshd."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evoembedding.schemas.configs import TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.training.hosts import Host, read_hostfile, ssh_command
from evoembedding.trainer.training.launch import RankLostError, launch
from tests.runs import ranks_of


def test_hostfile_names_machines_in_order(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# all of them\nworker-1 slots=8\n\n10.0.0.2   slots=4  # older\n")
    assert read_hostfile(path) == [Host("worker-1", 8), Host("10.0.0.2", 4)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names no machine"),
        ("# nobody\n\n", "names no machine"),
        ("worker-1\n", r"line 1: 'worker-1' is not 'NAME slots=N'"),
        ("a slots=1\nworker-1 slots=two\n", "line 2: .* is not 'NAME slots=N'"),
        ("worker-1 slots=1 more=2\n", "is not 'NAME slots=N'"),
        ("worker-1 slots=0\n", "'worker-1' has 0 slots"),
        ("worker-1 slots=1\nworker-1 slots=2\n", "line 2: 'worker-1' is there twice"),
        ("-oProxyCommand=touch${IFS}owned slots=1\n", "is no host name"),
        ("worker;reboot slots=1\n", "is no host name"),
        ("$(reboot) slots=1\n", "is no host name"),
        ("root@worker slots=1\n", "is no host name"),
        ("a\x00b slots=1\n", "is no host name"),
    ],
)
def test_mistakes_in_a_hostfile_are_one_sentence(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(text)
    with pytest.raises(EvoError, match=why) as caught:
        read_hostfile(path)
    assert "\n" not in str(caught.value)


def test_hostfile_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EvoError, match="cannot be read: No such file"):
        read_hostfile(tmp_path / "none")
    (tmp_path / "hosts").write_bytes(b"\xff\xfe")
    with pytest.raises(EvoError, match="cannot be read: it is no text"):
        read_hostfile(tmp_path / "hosts")


def test_what_goes_to_a_shell_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "a folder; with $(words)"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0 'x'")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")  # of this machine, and no matter of the others
    monkeypatch.setenv("EVO_HOME", "state")
    words = ["env"]
    command = ssh_command("worker-1", [*words, "$(id)"], {"RANK": "1 2"}, None)
    assert command[:2] == ["ssh", "-T"]
    assert command[-3:-1] == ["--", "worker-1"]
    assert "secret" not in command[-1]
    assert "DS_ACCELERATOR" not in command[-1]
    told = subprocess.run(["sh", "-c", command[-1].replace(shlex.quote("$(id)"), "")], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert f"PWD={folder}" in told.stdout
    assert "RANK=1 2" in told.stdout
    assert f"EVO_HOME={folder / 'state'}" in told.stdout
    assert "GLOO_SOCKET_IFNAME=eth0 'x'" in told.stdout


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Path]:
    """ssh's configuration for a server on loopback that has been started for this test, with keys of its own."""
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if not sshd or not shutil.which("ssh") or not shutil.which("ssh-keygen"):
        pytest.skip("no OpenSSH server, client and key generator on this machine")
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder / 'authorized'}\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    config = folder / "config"
    config.write_text(
        f"Host localhost 127.0.0.1\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder / 'user'}\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n"
        f"  UserKnownHostsFile {folder / 'known'}\n  LogLevel ERROR\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where a server of root's separates its privileges
    server_process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE)
    try:
        for _ in range(100):
            if server_process.poll() is not None:
                pytest.skip(f"sshd does not start here: {server_process.communicate()[1].decode()[-200:]}")
            tried = subprocess.run(["ssh", "-F", str(config), "localhost", "true"], capture_output=True, text=True)
            if tried.returncode == 0:
                break
            time.sleep(0.1)
        else:
            pytest.skip(f"ssh does not reach the server here: {tried.stderr[-200:]}")
        yield config
    finally:
        server_process.terminate()
        server_process.wait()


@pytest.mark.slow
def test_two_hosts_train_over_ssh_and_end_with_their_launcher(
    world: tuple[Path, Path],
    config: TrainConfig,
    ssh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    same_curve: Callable[[Path, Path], bool],
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    hosts = tmp_path / "hosts"
    hosts.write_text("localhost slots=1\n127.0.0.1 slots=1\n")
    changed = config.model_copy(update={"batches_per_step": 2, "batch_episodes": 2, "steps": 4})
    launch(*world, changed, tmp_path / "one", on_progress=lambda row: None)
    launch(*world, changed, tmp_path / "two", on_progress=lambda row: None, hostfile=hosts, ssh_config=ssh)
    assert same_curve(tmp_path / "two", tmp_path / "one")

    # kill -9 of the launcher leaves no rank behind on any machine.
    out = tmp_path / "killed"
    long = changed.model_copy(update={"steps": 4000})
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from evoembedding.schemas.configs import TrainConfig\n"
        "from evoembedding.trainer.training.launch import launch\n"
        "shards, tokenizer, config, out, hosts, ssh = sys.argv[1:]\n"
        "launch(Path(shards), Path(tokenizer), TrainConfig.model_validate_json(config), Path(out), "
        "hostfile=Path(hosts), ssh_config=Path(ssh))\n"
    )
    words = [str(world[0]), str(world[1]), long.model_dump_json(), str(out), str(hosts), str(ssh)]
    launcher = subprocess.Popen([sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout
    assert launcher.stdout.readline().startswith("{")
    assert len(ranks_of(out)) == 2
    launcher.kill()
    launcher.wait()
    for _ in range(200):
        if not ranks_of(out):
            break
        time.sleep(0.1)
    assert ranks_of(out) == []


@pytest.mark.slow
def test_rank_that_is_killed_on_a_host_is_a_lost_rank(
    world: tuple[Path, Path], config: TrainConfig, ssh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    hosts = tmp_path / "hosts"
    hosts.write_text("localhost slots=1\n127.0.0.1 slots=1\n")
    long = config.model_copy(update={"batches_per_step": 2, "steps": 4000})
    out = tmp_path / "out"

    def kill(row: object) -> None:
        os.kill(max(ranks_of(out)), signal.SIGKILL)

    with pytest.raises(RankLostError, match=r"training rank \d ended with code 255"):
        launch(*world, long, out, on_progress=kill, hostfile=hosts, ssh_config=ssh)
    hosts.write_text("localhost slots=1\nno-such-machine.invalid slots=1\n")
    with pytest.raises(EvoError, match=r"ended with code 255: ssh: .*no-such-machine") as caught:
        launch(*world, long, out, on_progress=kill, hostfile=hosts, ssh_config=ssh)
    assert not isinstance(caught.value, RankLostError)
    assert (out / "rank-1.log.1").exists()
