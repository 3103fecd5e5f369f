"""A YAML file is read, or every mistake in it is told with its line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import yamlfile
from yamlfile import Document, Invalid, Problem, dotted, suggest

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "count"],
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$", "description": "a lower-case name"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "kind": {"enum": ["cpu", "accelerator", None]},
        "flag": {"type": "boolean"},
        "secret": {"type": "string", "pattern": "^x$", "writeOnly": True, "description": "`x`"},
        "one": {"const": 1},
        "parts": {"type": "array", "minItems": 1, "uniqueItems": True},
        "pair": {"type": "array", "minItems": 2},
        "use": {
            "description": "a name or a list of names",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"enum": ["cpu", "gpu"]}},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"in_order": {"type": "array", "items": {"type": "string"}}},
                },
            ],
        },
    },
}
GOOD = "name: a\ncount: 1\n"


def problems(text, schema=SCHEMA):
    with pytest.raises(Invalid) as caught:
        yamlfile.read(text, "f.yaml", schema)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_file_gives_its_values_and_their_lines():
    document = yamlfile.read("# first\nname: a\ncount: 1\nuse:\n  - cpu\n  - gpu\n", "f", SCHEMA)
    assert document.value == {"name": "a", "count": 1, "use": ["cpu", "gpu"]}
    assert document.line() == 2
    assert document.line("count") == 3
    assert document.line("use") == 4
    assert document.line("use", 1) == 6


def test_a_value_without_a_line_of_its_own_stands_where_its_surroundings_stand():
    document = yamlfile.read("name: a\ncount: 1\nuse: [cpu]\n", "f", SCHEMA)
    assert document.line("use", 7, "deeper") == 3
    assert document.line("nowhere") == 1
    assert Document("f", None, {}).line("x") == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("no", "no"),
        ("yes", "yes"),
        ("22:00", "22:00"),
        ("2026-01-05", "2026-01-05"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("'12'", "12"),
        ('"null"', "null"),
        ("|\n  12", "12\n"),
        (">\n  true", "true\n"),
        ("[]", []),
        ("{}", {}),
        ("中文", "中文"),
        ("繁體 # 註", "繁體"),
    ],
)
def test_scalars_follow_the_core_rules_of_yaml_1_2(text, value):
    got = yamlfile.parse(f"a: {text}\n", "f").value["a"]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x 1\nb: *x\n", ["f:1: anchors and", "f:2: anchors and"]),
        ("a:\n  <<: *x\n", ["f:2: anchors and"]),
        ("a: !!str 5\n", ["f:1: tags are not read: remove `tag:yaml.org,2002:str`"]),
        ("a: !python/object 5\n", ["f:1: tags are not read: remove `!python/object`"]),
        ("a: 1\nb: 2\na: 3\n", ["f:3: `a` stands here twice"]),
        ('"a\\nb": 1\n"a\\nb": 2\n', ["f:2: `a b` stands here twice"]),
        ("? [x]\n: 1\n", ["f:1: a key must be a plain text"]),
        ("? {x: 1}\n: 1\nb: 1\nb: 2\n", ["f:1: a key must be", "f:4: `b` stands here twice"]),
        ("a: 1\n---\nb: 2\n", ["f:2: a second document starts here"]),
        ("a:\n\t- 1\n", ["f:2: not YAML: a tab indents this line: use spaces"]),
        (
            "a: 1\nb： 2\nc: 3\n",
            ["f:2: not YAML: `：` is a full-width colon: write `:` and a space"],
        ),
        ("a: [1\n", ["f:2: not YAML: while parsing a flow sequence did not find expected"]),
        ("a: b: c\n", ["f:1: not YAML: mapping values are not allowed"]),
        ("a: 1\nb: 'x\n", ["f:3: not YAML: while scanning a quoted scalar"]),
        ("%YAML 3.0\n---\na: 1", ["f:1: not YAML: found incompatible YAML document"]),
        ("a: 1\nb: \x07\n", ["f:2: not YAML: control characters are not allowed"]),
        ("a: 1\n\nb: \ud800\n", ["f:3: not YAML: half a character"]),
        ("a: 1e999\n", ["f:1: `1e999` is too large a number"]),
        ("b: -" + "9" * 5000, ["f:1: `-9999"]),
        ("b: 0x" + "F" * 5000, ["f:1: `0xFFFF"]),
        ("\n" + "[" * 41 + "]" * 41, ["f:2: not YAML: more than 40 levels deep"]),
        ("[" * 300_000, ["f:1: not YAML: more than 40 levels deep"]),
        ("a: {" * 300_000, ["f:1: not YAML: more than 40 levels deep"]),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text, told):
    with pytest.raises(Invalid) as caught:
        yamlfile.parse(text, "f")
    got = [str(problem) for problem in caught.value.problems]
    assert len(got) == len(told)
    assert all(line.startswith(start) for line, start in zip(got, told, strict=True)), got


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version： 1\nname: a\n", "f:1: `：` is a full-width colon: write `:` and a space"),
        ("r:\n  - id： a\n\n    b: c\n", "f:2: `：` is a full-width colon: write `:` and a space"),
        ("a: {b： {c: 1}}\n", "f:1: `：` is a full-width colon: write `:` and a space"),
        ("a: {b: 1，c: 2}\nd: [1\n", "f:1: `，` is a full-width sign: write `,`"),
        ("a: {b: ｛c: 1｝}\n", "f:1: `｛` is a full-width sign: write `{`"),
        ('a: 1\nb: "x”\n', 'f:3: `”` is not an ASCII character: write `"`'),
        ("a: 'x’\n", "f:2: `’` is not an ASCII character: write `'`"),
        ("a:\n－ b: c: d\n", "f:2: `－` is a full-width sign: write `-`"),
        ("a:\n  - {b: c}\u3000\n", "f:2: U+3000 is a full-width space: write a space"),
        ("a: [1 # “\nb: '，' '\n", None),
    ],
)
def test_full_width_signs_where_yaml_breaks_off_are_named_with_what_to_write(text, told):
    with pytest.raises(yamlfile.Invalid) as caught:
        yamlfile.parse(text, "f")
    (said,) = map(str, caught.value.problems)
    assert "not YAML" in said
    if told is None:
        assert "write" not in said
    else:
        where, _, sign = told.partition(" ")
        assert said.startswith(where)
        assert said.endswith(sign)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("［a］", "`［` is a full-width sign: write `[`"),
        ("５0％", "`５` is a full-width sign: write `5`"),
        ("22：00", "`：` is a full-width colon: write `:`"),
        ("a：b", "`：` is a full-width colon: write `:` and a space"),
        ("a、b", "`、` is not an ASCII character: write `,`"),
        ("（x）", "`（` is a full-width sign: write `(`"),
        ("plain, 中文", ""),
    ],
)
def test_of_a_text_the_first_full_width_sign_is_told(text, said):
    assert yamlfile.full_width(text) == said


def test_a_key_without_a_value_for_a_full_width_colon_is_told_so():
    schema = {"properties": {"tags": {"additionalProperties": {"type": "string"}}}}
    with pytest.raises(yamlfile.Invalid, match=r"`null` is not a text .`：` is a full-width colon"):
        yamlfile.read("tags: {data： private}\n", "f", schema)


def test_a_value_that_is_refused_names_the_full_width_sign_in_it_unless_it_is_hidden():
    schema = {"properties": {"a": {"type": "integer"}, "b": {"type": "integer", "writeOnly": True}}}
    with pytest.raises(yamlfile.Invalid) as caught:
        yamlfile.read("a: ５\nb: ６\n", "f", schema)
    assert [each.message for each in caught.value.problems] == [
        "a: `５` is not an integer (`５` is a full-width sign: write `5`)",
        "b: this value is not an integer",
    ]


@pytest.mark.parametrize(
    ("tag", "meant"),
    [
        ("zh-CN", "zh-Hans"), ("zh_CN.UTF-8", "zh-Hans"), ("zh-SG", "zh-Hans"),
        ("zh-Hans-CN", "zh-Hans"), ("zh-hans", "zh-Hans"), ("cmn-Hans", "zh-Hans"),
        ("简体中文", "zh-Hans"), ("zh-TW", "zh-Hant"), ("zh-HK", "zh-Hant"), ("zh-MO", "zh-Hant"),
        ("zh-Hant-HK", "zh-Hant"), ("zh-Hans-HK", "zh-Hans"), ("繁體中文", "zh-Hant"),
        ("chinese", "zh"), ("中文", "zh"), ("en-US", "en"), ("English", "en"),
    ],
)  # fmt: skip
def test_usual_tags_of_languages_lead_to_the_name_that_is_known(tag, meant):
    known = ["zh", "zh-Hans", "zh-Hant", "en", "mixed", "other"]
    assert yamlfile.suggest(tag, known).startswith(f"(did you mean `{meant}`? ")
    assert "zh" not in yamlfile.suggest(tag, ["mixed"])


def test_forty_levels_are_read():
    value = yamlfile.parse("[" * 40 + "1" + "]" * 40, "f").value
    for _ in range(40):
        (value,) = value
    assert value == 1


def test_a_long_number_that_json_holds_is_read():
    assert yamlfile.parse("9" * 40, "f").value == int("9" * 40)
    assert yamlfile.parse("1." + "0" * 100, "f").value == 1.0


def test_a_byte_order_mark_and_windows_line_ends_are_read_over():
    document = yamlfile.parse("\ufeffa: 1\r\nb:\r\n  - x\r\n", "f")
    assert document.value == {"a": 1, "b": ["x"]}
    assert document.line("b", 0) == 3


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "null\n"])
def test_an_empty_file_is_told_as_one(text):
    assert problems(text) == ["f.yaml:1: the file is empty"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", "f.yaml:1: this list is not a mapping"),
        (GOOD + "nam: b\n", "f.yaml:3: unknown key `nam` (did you mean `name`? known: count, "),
        (GOOD + "zzzz: b\n", "f.yaml:3: unknown key `zzzz` (known: count, "),
        ("name: B\ncount: 1\n", "f.yaml:1: name: `B` is not a lower-case name"),
        ('name: "a\\n"\ncount: 1\n', "f.yaml:1: name: `a` is not a lower-case name"),
        ("name: 5\ncount: 1\n", "f.yaml:1: name: `5` is not a text"),
        ("name: a\ncount: '1'\n", 'f.yaml:2: count: `"1"` is not an integer'),
        ("name: a\ncount: 1.5\n", "f.yaml:2: count: `1.5` is not an integer"),
        ("name: a\ncount: 0\n", "f.yaml:2: count: `0` is below 1"),
        ("name: a\ncount: 10\n", "f.yaml:2: count: `10` is above 9"),
        ("name: a\ncount: true\n", "f.yaml:2: count: `true` is not an integer"),
        ("name: a\ncount:\n", "f.yaml:2: count: `null` is not an integer"),
        (GOOD + "share: 0\n", "f.yaml:3: share: `0` is not above 0"),
        (GOOD + "share: 1\n", "f.yaml:3: share: `1` is not below 1"),
        (GOOD + "share: x\n", "f.yaml:3: share: `x` is not a number or null"),
        (
            GOOD + "kind: cpus\n",
            "f.yaml:3: kind: unknown value `cpus` (did you mean `cpu`? known: ",
        ),
        (
            GOOD + "kind: [1]\n",
            "f.yaml:3: kind: unknown value this list (known: accelerator, cpu, null)",
        ),
        (GOOD + "flag: yes\n", "f.yaml:3: flag: `yes` is not true or false"),
        (GOOD + "one: 2\n", "f.yaml:3: one: `2` is not valid here (const: 1)"),
        (GOOD + "parts: []\n", "f.yaml:3: parts: is empty"),
        (GOOD + "pair: [1]\n", "f.yaml:3: pair: this list is not valid here (minItems: 2)"),
        (GOOD + "parts: [1, x, x]\n", "f.yaml:3: parts: `x` stands here twice"),
        (GOOD + "use: 5\n", "f.yaml:3: use: `5` is not a name or a list of names"),
        (GOOD + "use:\n- cpu\n- tpu\n", "f.yaml:5: use[1]: unknown value `tpu` (did you mean"),
        (GOOD + "use: {inorder: []}\n", "f.yaml:3: use: unknown key `inorder` (did you mean `in_"),
        (GOOD + "use: {in_order: [5]}\n", "f.yaml:3: use.in_order[0]: `5` is not a text"),
    ],
)
def test_each_mistake_says_where_it_is_and_what_would_be_valid(text, told):
    (got,) = problems(text)
    assert got.startswith(told)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_lines():
    text = "zz: 1\ncount: 0\nyy: 2\nuse: [tpu, 5]\n"
    assert [line.partition(": ")[0] for line in problems(text)] == [
        "f.yaml:1",  # a name is missing
        "f.yaml:1",
        "f.yaml:2",
        "f.yaml:3",
        "f.yaml:4",
        "f.yaml:4",
    ]


def test_every_missing_key_is_told_once():
    assert problems("{}\n") == ["f.yaml:1: `name` is missing", "f.yaml:1: `count` is missing"]


def test_a_value_that_may_be_a_secret_is_not_repeated():
    (got,) = problems(GOOD + "secret: sk-12345\n")
    assert got == "f.yaml:3: secret: this value is not `x`"


def test_what_a_mapping_holds_is_not_repeated():
    (got,) = problems(GOOD + "parts: {key: sk-12345}\n")
    assert got == "f.yaml:3: parts: this mapping is not a list"


def test_a_long_or_broken_value_is_shown_in_one_short_line():
    (got,) = problems('name: "' + "a b\\n" * 200 + '"\ncount: 1\n')
    assert "\n" not in got
    assert got.endswith("...` is not a lower-case name")


def test_where_no_alternative_is_described_the_rule_is_told():
    (got,) = problems("5", {"anyOf": [{"type": "string"}, {"type": "array"}]})
    assert got.startswith("f.yaml:1: `5` is not valid here (anyOf:")


def test_where_two_alternatives_are_near_the_deeper_mistake_is_told():
    schema = {
        "anyOf": [
            {"type": "object", "required": ["x"]},
            {"type": "object", "properties": {"a": {"type": "integer"}}},
        ]
    }
    assert problems("a: text\n", schema) == ["f.yaml:1: a: `text` is not an integer"]


def test_an_alternative_of_another_kind_was_not_meant():
    schema = {
        "oneOf": [
            {"enum": ["x"]},
            {"type": "array", "items": {"type": "string"}},
        ]
    }
    assert problems("[a, 5]", schema) == ["f.yaml:1: [1]: `5` is not a text"]
    assert problems("[a, a, {}]", schema) == ["f.yaml:1: [2]: this mapping is not a text"]
    assert problems("y", schema) == ["f.yaml:1: unknown value `y` (known: x)"]


def test_a_text_that_fits_two_exclusive_alternatives_is_refused():
    (got,) = problems("x", {"oneOf": [{"type": "string"}, {"const": "x"}]})
    assert got.startswith("f.yaml:1: `x` is not valid here (oneOf:")


def test_free_keys_are_checked_by_their_values():
    schema = {"additionalProperties": {"type": "string"}}
    assert problems("a: x\nb: 5\n", schema) == ["f.yaml:2: b: `5` is not a text"]


def test_a_pattern_without_an_end_may_go_on():
    assert yamlfile.read("abc", "f", {"pattern": "^a"}).value == "abc"


def test_suggestions_list_what_is_known():
    assert suggest("cup", {"cpu", "accelerator"}) == "(did you mean `cpu`? known: accelerator, cpu)"
    assert suggest("vLLM", ["ollama", "vllm"]) == "(did you mean `vllm`? known: ollama, vllm)"
    assert suggest("scout", ["Scout"]) == "(did you mean `Scout`? known: Scout)"
    assert suggest("x", []) == "(known: none)"
    assert suggest(5, ["5"]) == "(did you mean `5`? known: 5)"


def test_a_path_is_written_as_people_write_it():
    assert dotted(("rules", 3, "when")) == "rules[3].when"
    assert dotted(()) == ""


def test_the_error_is_its_problems():
    error = Invalid([Problem("f:1", "a"), Problem("f:2", "b")])
    assert str(error) == "f:1: a\nf:2: b"
    assert isinstance(error, ValueError)


PIECES = st.sampled_from([*"ab:-[]{}#&*!|>'\"%@`, \n\t\r?~\\\x00\ud800中", "- ", "a: "])


@given(st.lists(PIECES, max_size=25).map("".join))
def test_any_text_is_either_read_or_refused_with_a_line_that_exists(text):
    found = ()
    try:
        document = yamlfile.read(text, "f", {})
    except Invalid as exc:
        found = exc.problems
        assert found
    else:
        assert document.value is not None
    for problem in found:
        assert 1 <= int(problem.where.removeprefix("f:")) <= len(text.splitlines()) + 1
        assert "\n" not in problem.message


leaves = st.none() | st.booleans() | st.sampled_from([0, 1, -5, 1.5, 1e-9, "x", "12", "off", "空"])
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)


@given(trees)
def test_json_is_read_as_it_is(value):
    assert yamlfile.parse(json.dumps(value, ensure_ascii=False), "f").value == value
