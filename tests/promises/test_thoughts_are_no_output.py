"""What a model thinks is no answer, and nobody is shown it: whole or streamed, however it is cut into pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kapelle.models import (
    Message,
    ModelReply,
    ModelRequest,
    PaidReplyCut,
    PaidReplyInvalid,
    Price,
    PriceTable,
    PydanticAIClient,
    strip_thoughts,
)
from kapelle.models.thoughts import ThoughtReader, leaves_tag_open
from tests.models.openai_server import OpenAIServer, ServerReply, chunk, completion, stream

PRICES = PriceTable({"*": Price(input_usd=1.0, cached_usd=1.0, output_usd=1.0)})
REQUEST = ModelRequest(messages=(Message(role="user", content="6 * 7"),))

ANSWERS = {
    "opened and closed": ("<think>secret</think>42", "42"),
    "with a line break": ("<think>\nsecret\n</think>\n\n42", "42"),
    "blank space in front": ("\n  <think>secret</think>42", "42"),
    "no thoughts within": ("<think>\n\n</think>\n\n42", "42"),
    "written thinking": ("<thinking>secret</thinking>42", "42"),
    "written reasoning": ("<reasoning>secret</reasoning> 42", "42"),
    "in capitals": ("<THINK>secret</Think>42", "42"),
    "twice": ("<think>secret</think><think>secret</think>42", "42"),
    "two kinds": ("<think>secret</think>\n<reasoning>secret</reasoning>42", "42"),
    "only the closing tag": ("secret</think>\n42", "42"),
    "only the closing tag, long": ("secret, and so on, and so on. " * 30 + "</think>\n\n42", "42"),
    "nothing but the closing tag": ("</think>42", "42"),
    "the closing tag twice": ("<think>secret</think></think>42", "42"),
    "named within": ("<think>secret <think> secret</think>42", "42"),
    "nested": ("<think>secret <think>secret</think> secret</think>42", "42"),
    "another kind named within": ("<think>secret </reasoning> secret</think>42", "42"),
    "quoted within": ("<think>secret `</think>` secret</think>42", "42"),
    "less than": ("1 < 2", "1 < 2"),
    "begins like a tag": ("<th>42</th>", "<th>42</th>"),
    "is half a tag": ("<thin", "<thin"),
    "a tag within a sentence": ("Write <think>so</think> first.", "Write <think>so</think> first."),
    "a quoted closing tag": ("It ends with `</think>`, 42 says.", "It ends with `</think>`, 42 says."),
    "in code": ("```\n<think>a</think>\n```", "```\n<think>a</think>\n```"),
    "literal after thoughts": ("<think>secret</think>Use <think>x</think>.", "Use <think>x</think>."),
    "blank space is kept": ("  42 \n", "  42 \n"),
}
NOTHING = {
    "never closed": "<think>secret 41 or",
    "closed by another tag": "<think>secret</thinking>secret",
    "nothing behind": "<think>secret</think>",
    "only blank space behind": "<think>secret</think> \n",
    "nothing behind the closing tag": "secret</think>",
    "the closing tag was cut": "<think>secret</thin",
}


def ask(reply: ServerReply, *, heard: list[str] | None = None, model: str = "local:m") -> ModelReply:
    async def main(server: OpenAIServer) -> ModelReply:
        async with PydanticAIClient(model, base_url=server.base_url, prices=PRICES) as client:
            return await client.complete(REQUEST, on_text=None if heard is None else heard.append)

    with OpenAIServer([reply]) as server:
        return asyncio.run(main(server))


def streamed(pieces: Sequence[str], finish: str = "stop") -> ServerReply:
    return stream(*map(chunk, pieces), chunk(finish=finish))


def cuts(text: str) -> list[list[str]]:
    """The text at once, by character, and in pieces that cut tags in odd places or stand alone."""
    alone = text.replace("<", "\0<").replace(">", ">\0").split("\0")
    return [[text], list(text), [piece for piece in alone if piece], [text[i : i + 3] for i in range(0, len(text), 3)]]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_whole_reply_is_read_without_its_thoughts(name: str) -> None:
    text, right = ANSWERS[name]

    assert ask(completion(text)).text == right


@pytest.mark.parametrize("cut", range(4))
@pytest.mark.parametrize("name", ANSWERS)
def test_a_streamed_reply_is_read_as_a_whole_one_is_and_thoughts_are_not_heard(name: str, cut: int) -> None:
    text, right = ANSWERS[name]
    heard: list[str] = []

    # Its name says that its template writes the opening tag: only then is it waited for.
    reply = ask(streamed(cuts(text)[cut]), heard=heard, model="local:deepseek-r1")

    assert reply.text == right
    assert "".join(heard) == right


@pytest.mark.parametrize("cut", range(4))
@pytest.mark.parametrize("name", [name for name, (text, _) in ANSWERS.items() if not leaves_tag_open(text)])
def test_thoughts_that_are_opened_are_not_heard_from_any_model(name: str, cut: int) -> None:
    text, right = ANSWERS[name]
    heard: list[str] = []

    ask(streamed(cuts(text)[cut]), heard=heard)

    assert "".join(heard) == right


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", NOTHING)
@pytest.mark.parametrize(("finish", "error"), [("length", PaidReplyCut), ("stop", PaidReplyInvalid)])
def test_nothing_but_thoughts_is_no_reply(name: str, finish: str, error: type[PaidReplyInvalid], streams: bool) -> None:
    text = NOTHING[name]
    heard: list[str] = []

    for pieces in cuts(text) if streams else [[text]]:
        reply = streamed(pieces, finish) if streams else completion(text, finish_reason=finish)
        with pytest.raises(error) as caught:
            ask(reply, heard=heard if streams else None, model="local:deepseek-r1")

        assert "secret" not in caught.value.reply.text
        assert "secret" not in str(caught.value)
        assert caught.value.cost_usd
    assert "".join(heard).strip() == ""


def test_a_model_that_was_seen_to_leave_tags_open_is_waited_for_from_then_on() -> None:
    replies = [streamed(["secret", "</think>", "42"]), streamed(["secret", "</think>", "43"])]
    heard: list[str] = []

    async def main(server: OpenAIServer) -> list[str]:
        async with PydanticAIClient("local:m", base_url=server.base_url, prices=PRICES) as client:
            first = await client.complete(REQUEST, on_text=lambda _: None)
            second = await client.complete(REQUEST, on_text=heard.append)
            return [first.text, second.text]

    with OpenAIServer(replies) as server:
        assert asyncio.run(main(server)) == ["42", "43"]
    assert heard == ["43"]


def test_thoughts_beside_the_text_are_none_of_it() -> None:
    heard: list[str] = []
    beside = stream(chunk(reasoning_content="secret "), chunk(reasoning="secret"), chunk("42"), chunk(finish="stop"))

    assert ask(beside, heard=heard).text == "42"
    assert ask(completion("42", reasoning_content="secret")).text == "42"
    assert heard == ["42"]


def test_a_users_own_model_object_is_read_in_the_same_way() -> None:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def main(server: OpenAIServer) -> str:
        model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=server.base_url, api_key="k"))
        async with model:
            return (await PydanticAIClient(model, prices=PRICES).complete(REQUEST)).text

    with OpenAIServer([completion("<think>secret</think>Use <think>x</think>.")]) as server:
        assert asyncio.run(main(server)) == "Use <think>x</think>."


TEXTS = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<thinking>",
            "</THINKING>",
            "<reasoning>",
            "</reasoning>",
            "<",
            ">",
            "/",
            "`",
            '"',
            " ",
            "\n",
            "a",
            "think",
            "</",
            "<thin",
            "42",
        ]
    ),
    max_size=12,
).map("".join)


@given(text=TEXTS, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8), holds_back=st.booleans())
@example(text="x `</think>` y</think>z", sizes=[1], holds_back=True)
def test_however_a_reply_is_cut_into_pieces_it_is_read_alike(text: str, sizes: list[int], holds_back: bool) -> None:
    whole = ThoughtReader(holds_back=holds_back)
    right = whole.take(text) + whole.finish()
    reader, heard, start, turn = ThoughtReader(holds_back=holds_back), "", 0, 0
    while start < len(text):
        end = start + sizes[turn % len(sizes)]
        heard += reader.take(text[start:end])
        start, turn = end, turn + 1

    assert heard + reader.finish() == right
    if not leaves_tag_open(text):
        assert right == strip_thoughts(text)


@given(thoughts=st.text(alphabet="ab <>/\n`", max_size=30), answer=st.text(alphabet="ab <>/\n`", max_size=30))
def test_what_stands_behind_thoughts_is_the_answer(thoughts: str, answer: str) -> None:
    if thoughts.endswith("`"):
        thoughts += " "

    assert strip_thoughts(f"<think>{thoughts}</think>{answer}") == answer.lstrip()
