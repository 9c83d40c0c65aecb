"""Model and backbone folders from anywhere: one sentence, nothing run, nothing read outside of them, little memory."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from evoembedding.schemas.configs import ModelConfig, TrainConfig
from evoembedding.schemas.errors import EvoError
from evoembedding.trainer.authors import import_authors
from evoembedding.trainer.embedder import EvoEmbedder
from evoembedding.trainer.model.evo_model import EvoModel
from evoembedding.trainer.model_folder import CONFIG, WEIGHTS, save_model, write_lineage
from evoembedding.trainer.tokenizer.evo_tokenizer import EvoTokenizer, load_tokenizer
from tests.soak import count

Spoil = Callable[[Path], object]
MEMORY = 1 << 30


@pytest.fixture
def folder(model: EvoModel, tokenizer: EvoTokenizer, tmp_path: Path) -> Path:
    save_model(model, tokenizer, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def backbone(family_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(family_folder("llama"), tmp_path / "backbone"))


@pytest.fixture(autouse=True)
def held_to_memory() -> Any:
    """One GB more than is taken now: what a hostile size would take is far beyond it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def changed(name: str, **changes: Any) -> Spoil:
    """Sets keys of a JSON file; `a.b` is b in a."""

    def spoil(folder: Path) -> None:
        read = json.loads((folder / name).read_text())
        for key, value in changes.items():
            *path, last = key.split("__")
            at = read
            for part in path:
                at = at[part]
            at[last] = value
        (folder / name).write_text(json.dumps(read))

    return spoil


def written(name: str, data: str | bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def removed(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def linked(name: str) -> Spoil:
    """The file is moved away, and a link leads to it."""

    def spoil(folder: Path) -> None:
        outside = folder.with_name("outside")
        outside.mkdir()
        (folder / name).rename(outside / name)
        (folder / name).symlink_to(outside / name)

    return spoil


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, str(folder / WEIGHTS))

    return spoil


def first(change: Callable[[torch.Tensor], torch.Tensor]) -> Spoil:
    """Changes the first weight."""

    def of(tensors: dict[str, torch.Tensor]) -> None:
        name = sorted(tensors)[0]
        tensors[name] = change(tensors[name]).contiguous()

    return weights(of)


def filled(value: float) -> Spoil:
    return first(lambda tensor: torch.where(torch.arange(tensor.numel()).view(tensor.shape) == 3, value, tensor))


def header(size: int, text: bytes = b"") -> Spoil:
    return written(WEIGHTS, struct.pack("<Q", size) + text)


def huge_header(folder: Path) -> None:
    """Ninety megabytes that the library would take, of tensors without elements."""
    names = ",".join(f'"{i:060}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(300_000))
    text = f"{{{names}}}".encode()
    header(len(text), text)(folder)


def cut(where: float) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / WEIGHTS
        os.truncate(path, int(path.stat().st_size * where))

    return spoil


def pickled(folder: Path) -> None:
    """No safetensors, but a pickle that would run a program."""
    (folder / WEIGHTS).unlink()
    torch.save({"x": Runs()}, folder / "pytorch_model.bin")


def program(folder: Path) -> None:
    """Code that a config asks to be run."""
    (folder / "evil.py").write_text("print('this must not run')\nclass Evil: ...\n")
    changed(CONFIG, auto_map={"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}, model_type="evil")(
        folder
    )


def program_of_tokenizer(folder: Path) -> None:
    (folder / "evil.py").write_text("print('this must not run')\nclass Evil: ...\n")
    changed("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]}, tokenizer_class="Evil")(folder)
    (folder / "tokenizer.json").unlink()


def adapter(folder: Path) -> None:
    """Its base model is another folder."""
    shutil.copytree(folder, folder.with_name("outside"))
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(folder.with_name("outside")), "peft_type": "LORA"})
    )
    (folder / CONFIG).unlink()


def indexed(file: str) -> Spoil:
    """An index that leads to a weights file elsewhere."""

    def spoil(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder.with_name("outside.safetensors"))
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {"x": file}}))

    return spoil


def as_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def looped(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder)


def fifo(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return spoil


def bound_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(folder / "socket"))


class Runs:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("this must not run",))


DEEP = "[" * 100_000 + "]" * 100_000
CONFIGS: dict[str, tuple[Spoil, str]] = {  # of any folder: what is done to it, and what must be said
    "empty config": (written(CONFIG, ""), "no JSON"),
    "config that is no JSON": (written(CONFIG, "{"), "no JSON"),
    "config in another encoding": (written(CONFIG, b"\xff\xfe\x00"), "no JSON"),
    "config that is a list": (written(CONFIG, "[1]"), "no object"),
    "config nested deeply": (written(CONFIG, DEEP), "nested too deeply"),
    "config of 9 MB": (written(CONFIG, " " * (9 << 20) + "{}"), "more than"),
    "config missing": (removed(CONFIG), CONFIG),
    "config linked": (linked(CONFIG), "leads out of it"),
    "weights linked": (linked(WEIGHTS), "leads out of it"),
    "tokenizer linked": (linked("tokenizer.json"), "leads out of it"),
    "weights missing": (removed(WEIGHTS), "safetensors"),
    "weights empty": (written(WEIGHTS, b""), ""),
    "weights no safetensors": (written(WEIGHTS, b"no weights at all" * 100), "header"),
    "weights pickled": (pickled, WEIGHTS.rpartition(".")[2]),
    "weights cut in the header": (cut(0.001), ""),
    "weights cut in half": (cut(0.5), ""),
    "weights cut at the end": (cut(0.999), ""),
    "header beyond the file": (header(1 << 40), "header of"),
    "header of 90 MB": (huge_header, "header of"),
    "header of lies": (header(60, b'{"x":{"dtype":"F32","shape":[9,9],"data_offsets":[0,4]}}   '), ""),
    "weights a pipe": (fifo(WEIGHTS), "no plain file"),
    "config a pipe": (fifo(CONFIG), "no plain file"),
    "a socket": (bound_socket, "no plain file"),
    "NaN": (filled(float("nan")), "not all numbers"),
    "infinity": (filled(float("-inf")), "not all numbers"),
    "tensor missing": (weights(lambda t: t.pop(sorted(t)[0])), ""),
    "tensor of another shape": (first(lambda t: t.flatten()), ""),
    "a file in its place": (as_file, "no folder"),
    "a link to itself": (looped, ""),
    "tokenizer missing": (removed("tokenizer.json"), ""),
    "tokenizer no JSON": (written("tokenizer.json", "{"), ""),
    "tokenizer of another kind": (written("tokenizer.json", '{"model": 1}'), ""),
    "tokenizer nested deeply": (written("tokenizer.json", '{"a":' + DEEP + "}"), ""),
    "tokenizer's config no JSON": (written("tokenizer_config.json", "{"), ""),
    "tokenizer's config a list": (written("tokenizer_config.json", "[]"), ""),
    "template without end": (
        written(
            "chat_template.jinja", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
        ),
        "chat template",
    ),
    "template of 100 GB": (written("chat_template.jinja", "{{ 'a' * 100000000000 }}"), "chat template"),
    "template that doubles": (
        written(
            "chat_template.jinja",
            "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        ),
        "chat template",
    ),
    "template out of its sandbox": (
        written("chat_template.jinja", "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
        "chat template",
    ),
}
MODELS: dict[str, tuple[Spoil, str]] = {  # of a model folder
    **CONFIGS,
    "another architecture": (written(CONFIG, '{"model_type": "llama", "hidden_size": 4}'), "of type 'llama'"),
    "another model's code": (program, "of type 'evil'"),
    "hidden 10^9": (changed(CONFIG, train__model__hidden=10**9), "train.model.hidden"),
    "layers 10^9": (changed(CONFIG, train__model__layers=10**9), "train.model.layers"),
    "hidden 2^16": (changed(CONFIG, train__model__hidden=1 << 16), "by its config"),
    "embedding 2^16": (changed(CONFIG, train__model__embedding=1 << 16), "by its config"),
    "the most of everything": (
        changed(CONFIG, train__model__hidden=1 << 16, train__model__layers=64, vocabulary=4_000_000),
        "differ at",
    ),
    "vocabulary 10^9": (changed(CONFIG, vocabulary=10**9), "vocabulary is"),
    "vocabulary 2^70": (changed(CONFIG, vocabulary=2**70), "vocabulary is"),
    "vocabulary a text": (changed(CONFIG, vocabulary="512"), "vocabulary is"),
    "vocabulary true": (changed(CONFIG, vocabulary=True), "vocabulary is"),
    "vocabulary too small": (changed(CONFIG, vocabulary=100), "token id"),
    "hidden a text": (changed(CONFIG, train__model__hidden="wide"), "train.model.hidden"),
    "unknown field": (changed(CONFIG, train__model__trick=1), "train.model.trick"),
    "train a list": (changed(CONFIG, train=[]), "config 'train"),
    "no heads": (changed(CONFIG, train__model__heads=0), "train.model.heads"),
    "tensor too many": (weights(lambda t: t.update(more=torch.ones(1))), "differ at 1 names, first 'more'"),
    "tensor of integers": (first(lambda t: t.to(torch.int8)), "of type I8"),
    "prefix no text": (changed("tokenizer_config.json", query_prefix={"a": 1}), "query_prefix is a dict"),
    "tokenizer without EOS": (changed("tokenizer_config.json", eos_token=None), "no EOS token"),
    "backbone that is a folder of the system": (changed(CONFIG, train__model__backbone="/etc"), "backbone '/etc'"),
}
BACKBONES: dict[str, tuple[Spoil, str]] = {  # of a backbone folder
    **CONFIGS,
    "its own code": (program, ""),
    "its tokenizer's own code": (program_of_tokenizer, ""),
    "hidden 10^9": (changed(CONFIG, hidden_size=10**9), "hidden_size"),
    "layers 10^9": (changed(CONFIG, num_hidden_layers=10**9), "num_hidden_layers"),
    "vocabulary 10^9": (changed(CONFIG, vocab_size=10**9), "vocab_size"),
    "vocabulary a million": (changed(CONFIG, vocab_size=1_000_000), "its files hold"),
    "hidden a text": (changed(CONFIG, hidden_size="32"), ""),
    "hidden below 0": (changed(CONFIG, hidden_size=-8), ""),
    "no such type": (changed(CONFIG, model_type="nothing"), ""),
    "type a list": (changed(CONFIG, model_type=["llama"]), ""),
    "quantised": (changed(CONFIG, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}), ""),
    "an adapter elsewhere": (adapter, "adapter"),
    "index that leads out": (indexed("../outside.safetensors"), "no safetensors file in the folder"),
    "index to a pickle": (indexed("pytorch_model.bin"), "no safetensors file in the folder"),
    "index to nothing": (indexed("model-1.safetensors"), "not there"),
    "weights elsewhere": (changed(CONFIG, transformers_weights="../outside.safetensors"), "other weights"),
}


def one_sentence(caught: pytest.ExceptionInfo[EvoError], capfd: pytest.CaptureFixture[str], says: str) -> None:
    said = str(caught.value)
    assert says in said
    assert "\n" not in said
    assert len(said) < 1000
    assert "nothing was" in said
    assert "this must not run" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("name", MODELS)
def test_a_hostile_model_folder_is_one_sentence(name: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spoil, says = MODELS[name]
    spoil(folder)
    with pytest.raises(EvoError) as caught:
        EvoEmbedder.load(folder)
    one_sentence(caught, capfd, says)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_hostile_backbone_is_one_sentence(name: str, backbone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spoil, says = BACKBONES[name]
    spoil(backbone)
    config = TrainConfig(model=ModelConfig(backbone=str(backbone), lora_rank=4, embedding=24))
    with pytest.raises(EvoError) as caught:
        load_tokenizer(str(backbone))
        EvoModel(config, 0)
    one_sentence(caught, capfd, says)


def as_theirs(folder: Path) -> Path:
    """A folder of safetensors without a weight that the model takes."""
    folder.mkdir()
    save_file({"memory_queries": torch.ones(1, 4, 32)}, str(folder / WEIGHTS))
    return folder


def spread_out(folder: Path) -> None:
    """Tensors that claim a million times what they hold."""
    one = torch.ones(1)
    tensors = {
        "memory_queries": one.expand(1, 500, 32),
        "mem_to_emb.0.weight": one.expand(1 << 16, 32),
        "mem_to_emb.2.weight": one.expand(1 << 16, 1 << 16),
        "model.base_model.model.model.layers.0.mlp.up_proj.lora_A.memory_generator.weight": one.expand(1 << 14, 32),
    }
    (folder / WEIGHTS).unlink()
    torch.save(tensors, folder.with_name("spread.bin"))


def one_of(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        tensors = {
            "memory_queries": torch.ones(1, 4, 32),
            "mem_to_emb.0.weight": torch.ones(24, 32),
            "model.base_model.model.model.layers.0.mlp.up_proj.lora_A.memory_generator.weight": torch.ones(4, 32),
        }
        change(tensors)
        save_file(tensors, str(folder / WEIGHTS))

    return spoil


CHECKPOINTS: dict[str, tuple[Spoil, str]] = {
    "weights linked": CONFIGS["weights linked"],
    "weights a pipe": CONFIGS["weights a pipe"],
    "a link to itself": CONFIGS["a link to itself"],
    "header of 90 MB": CONFIGS["header of 90 MB"],
    "header of lies": CONFIGS["header of lies"],
    "index that leads out": (indexed("../outside.safetensors"), "no safetensors file in the folder"),
    "index nested deeply": (written(f"{WEIGHTS}.index.json", '{"weight_map":' + DEEP + "}"), "nested too deeply"),
    "config nested deeply": (written(CONFIG, DEEP), "it has no 'mem_to_emb.0.weight'"),
    "numbers without a shape": (one_of(lambda t: t.update({"mem_to_emb.0.weight": torch.tensor(1.0)})), "no matrix"),
    "NaN": (one_of(lambda t: t.update({"memory_queries": torch.full((1, 4, 32), torch.nan)})), "no number"),
    "integers": (one_of(lambda t: t.update({"memory_queries": torch.ones(1, 4, 32).int()})), "no floating"),
    "latents 10^6": (one_of(lambda t: t.update({"memory_queries": torch.ones(1, 10**6, 1)})), "4096"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_hostile_checkpoint_is_one_sentence(
    name: str, backbone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, says = CHECKPOINTS[name]
    place = as_theirs(tmp_path / "checkpoint")
    (place / CONFIG).write_text("{}")
    spoil(place)
    with pytest.raises(EvoError) as caught:
        import_authors(place, str(backbone), tmp_path / "made")
    one_sentence(caught, capfd, says)
    assert not (tmp_path / "made").exists()


def test_a_checkpoint_that_claims_more_than_it_holds(backbone: Path, tmp_path: Path) -> None:
    spread_out(as_theirs(tmp_path / "checkpoint"))
    with pytest.raises(EvoError, match="claims more numbers than its file holds"):
        import_authors(tmp_path / "spread.bin", str(backbone), tmp_path / "made")


def test_every_changed_byte_of_a_model_folder_is_found(folder: Path, tmp_path: Path) -> None:
    """But in the card, which is text for people, and where a changed `lineage.json` still says the same digests."""
    names_of_lineage = (
        *("model_id", "dataset", "dataset_digest", "training_run_id"),
        *("package_version", "git_commit"),
    )
    write_lineage(folder, dict.fromkeys(names_of_lineage, "x"))
    EvoEmbedder.load(folder)
    chosen = random.Random(0)
    names = [path.name for path in sorted(folder.iterdir()) if path.name not in ("README.md", "lineage.json")]
    for number in range(count(15, 150)):
        damaged = shutil.copytree(folder, tmp_path / f"damaged-{number}")
        path = damaged / names[number % len(names)]
        data = bytearray(path.read_bytes())
        data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
        path.write_bytes(data)
        with pytest.raises(EvoError, match=f"'{path.name}' has digest"):
            EvoEmbedder.load(damaged)
        shutil.rmtree(damaged)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        (DEEP, "cannot be read"),
        ("[]", "holds no digests"),
        ('{"files": 1}', "holds no digests"),
        ('{"files": {"../outside": "x"}}', "outside of the folder"),
        ('{"files": {"nothing": "x"}}', "nothing"),
        ('{"files": {"config.json": [1]}}', "has digest"),
    ],
)
def test_a_broken_lineage_is_one_sentence(text: str, says: str, folder: Path) -> None:
    (folder / "lineage.json").write_text(text)
    with pytest.raises(EvoError, match=says) as caught:
        EvoEmbedder.load(folder)
    assert "\n" not in str(caught.value)


def test_a_snapshot_of_the_hub_is_links_and_may_be(backbone: Path, tmp_path: Path) -> None:
    """As in Hugging Face's cache: `snapshots/COMMIT/FILE` leads to `blobs/DIGEST`."""
    blobs, snapshot = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "commit"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(backbone.iterdir()):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    assert load_tokenizer(str(snapshot)).vocabulary
    EvoModel(TrainConfig(model=ModelConfig(backbone=str(snapshot), lora_rank=4, embedding=24)), 0)
