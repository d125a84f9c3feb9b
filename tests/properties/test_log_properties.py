"""Reading a log from two sources, stated as a sentence: every line is taken once, in its order."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from builders import NOW
from trainlet.engine.base import LogLine
from trainlet.logs.lines import SeenLines

#: For each line: milliseconds since the last, how late it is stamped (the two streams are stamped apart), its text.
LINES = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 400, 5000]), st.sampled_from([0, 0, 300, 900]), st.sampled_from(["x", "", "y"]))
)


@given(LINES, st.data())
def test_a_log_that_is_read_in_pieces_is_read_once(steps: list[tuple[int, int, str]], data: st.DataObject) -> None:
    time, lines = NOW, []
    for step, delay, text in steps:
        time += timedelta(milliseconds=step)
        lines.append(LogLine(text, time + timedelta(milliseconds=delay)))
    seen, taken = SeenLines(), []
    end = 0
    while end < len(lines):
        end = data.draw(st.integers(end + 1, len(lines)))
        begin = seen.resume_time
        source = [line for line in lines[:end] if begin is None or (line.time and line.time >= begin)]
        taken += seen.take(source)
    assert [*taken, *seen.take(lines)] == lines
