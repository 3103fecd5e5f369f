"""Whatever is sent in whatever pieces: what botocore's parser reads, ours reads."""

from itertools import pairwise

from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st
from sagemaker_support import frame

from backends.event_stream import Decoder

names = st.sampled_from([":event-type", ":message-type", "a", "b"])
headers = st.dictionaries(
    names, st.one_of(st.sampled_from(["", "PayloadPart", "event", "机器"]), st.just(b"\x00\xff"))
)
messages = st.lists(st.tuples(headers, st.binary(max_size=30)), max_size=6)


@given(sent=messages, data=st.data())
def test_messages_split_anywhere_are_those_that_were_sent(sent, data):
    raw = b"".join(frame(*message) for message in sent)
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=12).map(sorted))
    ends = [0, *cuts, len(raw)]
    buffer, decoder, ours = EventStreamBuffer(), Decoder(), []
    for start, end in pairwise(ends):
        ours += decoder.feed(raw[start:end])
    buffer.add_data(raw)
    theirs = [(dict(event.headers), event.payload) for event in buffer]
    assert (decoder.failure, decoder.partial) == (None, False)
    texts = [({k: v for k, v in h.items() if isinstance(v, str)}, p) for h, p in theirs]
    assert [(dict(m.headers), m.payload) for m in ours] == texts
    assert [(h, p) for h, p in theirs] == [(dict(h), p) for h, p in sent]


@given(sent=messages, cut=st.integers(1, 200))
def test_what_ends_within_a_message_is_told_apart(sent, cut):
    raw = b"".join(frame(*message) for message in sent)
    whole = {0}
    for message in sent:
        whole.add(max(whole) + len(frame(*message)))
    decoder = Decoder()
    found = decoder.feed(raw[:cut])
    assert decoder.partial == (min(cut, len(raw)) not in whole)
    assert len(found) == sum(end <= cut for end in whole if end)
