"""What is asked of a teacher, what it answered, and the ledger that remembers both."""

from __future__ import annotations

import json
from functools import cache
from typing import ClassVar, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evoembedding.schemas.budget import Budget, Reservation, Spent
from evoembedding.schemas.episode import Record
from evoembedding.schemas.identity import Config, identity
from evoembedding.schemas.ids import content_id
from evoembedding.schemas.moments import Moment


class Message(Record):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(Config):
    """How answers are sampled. vLLM on CPU cannot take a seed per request, so none is sent by default."""

    temperature: float = Field(0.7, ge=0, le=2, description="0 takes the likeliest token each time.")
    top_p: float = Field(1.0, gt=0, le=1, description="Share of the probability that is sampled from.")
    max_tokens: int = Field(512, ge=1, description="Of an answer, at most.")
    seed: int | None = Field(
        None, description="Sent with a request, plus the number of the sample; None: none is sent."
    )


class Price(Config):
    """Money per million tokens."""

    prompt: float = Field(0.0, ge=0, description="Of tokens that are sent.")
    completion: float = Field(0.0, ge=0, description="Of tokens that come back.")

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The cost of a call."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


class ServeConfig(Config):
    """A vLLM server that a run starts for itself and stops again. None of this can change what is asked."""

    model_config = ConfigDict(hide_input_in_errors=True)  # an argument may hold a secret

    model: str = Field("", description="A folder or hub id; empty: the SmolLM2 that `make teacher` prepares.")
    served_name: str = Field("", description="What callers name the model; empty: the last part of `model`.")
    host: str = Field("127.0.0.1", description="The address that it listens on; 0.0.0.0 lets other machines in.")
    port: int = Field(0, ge=0, le=65535, description="0: a free one.")
    dtype: str = Field("auto", description="Such as bfloat16; on a CPU float32 by default.")
    max_model_len: int | None = Field(None, ge=64, description="Tokens of the context window; None: the model's own.")
    max_num_seqs: int | None = Field(None, ge=1, description="Calls that it works on at once; None: vLLM's own.")
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs that share the model.")
    extra_args: tuple[str, ...] = Field((), description="Flags passed on to vLLM; no secrets.")
    start_timeout_s: float = Field(
        900, gt=0, description="Seconds until it must answer, of which a download may need many."
    )

    @field_validator("extra_args")
    @classmethod
    def _no_secrets(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        """Recipes are stored, and anyone on the machine can read a command line."""
        for word in words:
            flag = word.split("=")[0].replace("_", "-")
            if flag.startswith(("--api-k", "--hf-t")):
                raise ValueError(f"extra_args hold {flag}, a secret on a command line; put it in the environment")
        return words


class TeacherConfig(Config):
    """One model behind OpenAI-compatible endpoints. Only model, revision and sampling can change an answer.

    With `serve`, the run starts the endpoint itself and none is named.
    """

    model_config = ConfigDict(hide_input_in_errors=True)  # an endpoint may hold a secret

    name: str = Field("teacher", description="What roles call it.")
    model: str = Field(description="What its endpoints call the model.")
    revision: str = Field("", description="Tells weights of one name apart; part of what is asked.")
    endpoints: tuple[str, ...] = Field((), description="Base URLs, such as http://127.0.0.1:8000/v1.")
    serve: ServeConfig | None = Field(None, description="A server that the run starts itself; None: none.")
    api_key_env: str = Field(
        "EVO_TEACHER_API_KEY", description="The variable that holds the key; the key itself is stored nowhere."
    )
    sampling: Sampling = Field(Sampling(), description="How its answers are sampled.")
    price: Price = Field(Price(), description="What its tokens cost.")
    max_in_flight: int = Field(64, ge=1, description="Calls at once, an endpoint.")
    timeout_s: float = Field(600, gt=0, description="Seconds a call.")
    attempts: int = Field(8, ge=1, description="A call, at a server that fails.")
    repairs: int = Field(5, ge=0, description="An answer of the wrong form.")
    patience_s: float = Field(600, ge=0, description="Seconds while every endpoint is unreachable or busy.")

    @model_validator(mode="after")
    def _somewhere(self) -> TeacherConfig:
        if not self.endpoints and self.serve is None:
            raise ValueError(f"teacher '{self.name}' has neither endpoints nor a server to start")
        return self

    @field_validator("endpoints")
    @classmethod
    def _plain_addresses(cls, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        """Endpoints are stored with every call: they may hold no secret."""
        for url in endpoints:
            if odd := next((c for c in url if not "!" <= c <= "~"), ""):
                raise ValueError(
                    f"an endpoint holds U+{ord(odd):04X}, which no address can; give one such as http://127.0.0.1:8000/v1"
                )
            try:
                parts = urlsplit(url)
                _ = parts.port  # raises where it is none
            except ValueError:
                raise ValueError(
                    "an endpoint's host or port is none; give an address such as http://127.0.0.1:8000/v1"
                ) from None
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"endpoint '{parts.path[:80]}' is no http or https address; give one that ends in /v1")
            if parts.username or parts.password or parts.query or parts.fragment:
                raise ValueError(
                    f"the endpoint at '{parts.hostname}' holds credentials or a query, which would be stored with "
                    "every call; put the key in the environment"
                )
        return endpoints


@cache
def answer_schema(answer: type[BaseModel]) -> str:
    """The JSON schema that answers have to keep to. Its properties keep their order: models write them in it."""
    return json.dumps(answer.model_json_schema(), separators=(",", ":"), ensure_ascii=False)


class TeacherRequest(Record):
    """Exactly what is asked. `sample` tells equal requests apart, of which each is to be answered anew."""

    model: str
    revision: str
    messages: tuple[Message, ...]
    sampling: Sampling
    answer_schema: str  # JSON schema of the answer, as canonical JSON
    sample: int = 0

    @property
    def call_id(self) -> str:
        """The key of the ledger: a hash of all fields."""
        return content_id("call", identity(self))


class TeacherCall(Record):
    """An answered request: a row of the ledger. `valid` is false when the answer does not fit its schema."""

    call_id: str
    scope: str  # whose budget paid: the recipe's name
    stage: str
    item: str
    teacher: str
    model: str
    endpoint: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cost: float
    finish_reason: str
    valid: bool
    content: str
    created_at: Moment


class Ledger(Protocol):
    """Remembers every answered call, so that none is paid for twice."""

    remote: ClassVar[bool]  # it is on a server that others use as well: it knows `reserve` and `release`

    def find(self, call_id: str) -> TeacherCall | None:
        """The call of that key, if it was answered."""
        ...

    def record(self, call: TeacherCall, request: TeacherRequest) -> None:
        """Keep an answered call; durable when this returns."""
        ...

    def fault(self, teacher: str, endpoint: str, kind: str) -> None:
        """Count a call that got no answer, or something odd about one that did."""
        ...

    def charge(self, scope: str, spent: Spent) -> None:
        """Remember what a request without an answer may have been charged."""
        ...

    def spent(self, scope: str) -> Spent:
        """The sum over a scope's calls, and over its requests without an answer that may have been charged."""
        ...


class CommonLedger(Ledger, Protocol):
    """One that the drivers of several machines use: it keeps their common budget, and who sends what."""

    def reserve(self, scope: str, budget: Budget, call_id: str, most: Spent) -> Reservation:
        """Set aside what a call may come to, in one transaction, if nobody sends it and the budget has room."""
        ...

    def release(self, call_id: str) -> None:
        """Give a reservation back: the call was kept or charged, or never sent."""
        ...
