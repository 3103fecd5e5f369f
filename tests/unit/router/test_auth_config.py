import textwrap

import pytest

import yamlfile
from policies.names import Names
from router.auth.arn import Principal, pattern, principal
from router.auth.config import parse
from router.identity import Key

NAMES = Names(
    lanes=frozenset({"cpu", "accelerator"}),
    fleets=frozenset({"one"}),
    models=frozenset({"m"}),
    regions=frozenset(),
    model_of={"one": "m"},
    judged=lambda _: frozenset(),
)
JWT = "jwt: {issuer: 'https://id.example', audience: sluice, "
IAM = "iam: {principals: [{arn: 'arn:aws:iam::111122223333:role/a', tenant: t, "


def read(text):
    return parse("version: 1\n" + textwrap.dedent(text), "auth.yaml", NAMES)


def problems(text):
    with pytest.raises(yamlfile.Invalid) as caught:
        read(text)
    return str(caught.value)


def test_every_key_of_the_file_means_something():
    config = read(
        """\
        jwt:
          issuer: https://id.example/realms/a
          audience: [sluice, other]
          jwks_url: https://id.example/keys?p=a
          algorithms: [ES256]
          leeway_s: 5
          claims: {tenant: org, lanes: [realm, lanes], tags: {cc: cost_center}}
          admin: {claim: [realm, roles], has: boss}
          give: {team: search, may: [best], allow_tags: ["*"], models: [m], tags: {env: prod}}
        iam:
          principals:
            - {arn: "arn:aws:iam::111122223333:role/batch-*", tenant: t, lanes: [cpu], admin: true}
        """
    )
    assert config.jwt.issuer == "https://id.example/realms/a"
    assert config.jwt.audiences == {"sluice", "other"}
    assert config.jwt.jwks_url == "https://id.example/keys?p=a"
    assert (config.jwt.algorithms, config.jwt.leeway_s) == (("ES256",), 5)
    assert config.jwt.claims == {"tenant": ("org",), "lanes": ("realm", "lanes")}
    assert config.jwt.tags == {"cc": ("cost_center",)}
    assert config.jwt.admin == (("realm", "roles"), "boss")
    assert config.jwt.give == Key(
        "", "", "search", {"env": "prod"}, ("*",), models=("m",), may=("best",)
    )
    ((who, key),) = config.iam.principals
    assert who == Principal("aws", "111122223333", "role", "batch-*")
    assert key == Key("", "t", lanes=("cpu",), admin=True)


def test_what_is_left_out_has_its_default():
    config = read(JWT + "claims: {tenant: org}}")
    assert config.iam is None
    assert config.jwt.algorithms == ("RS256", "ES256", "EdDSA")
    assert (config.jwt.leeway_s, config.jwt.jwks_url, config.jwt.admin) == (30, None, None)
    assert config.jwt.give == Key("", "")


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", 1, "nobody is believed by this file"),
        (JWT + "}", 2, "say who the tenant is"),
        (JWT + "claims: {tenant: a}, give: {tenant: b}}", 2, "`claims` says it already"),
        (JWT + "claims: {tenant: a, tags: {x: y}}, give: {tags: {x: z}}}", 2, "says it already"),
        (JWT + "claims: {tenant: a, tags: {'*': y}}}", 2, "not a name"),
        (JWT + "claims: {tenant: a}, algorithms: [HS256]}", 2, "HS256"),
        (JWT + "claims: {tenant: a}, algorithms: [none]}", 2, "none"),
        (JWT + "claims: {tenat: a}}", 2, "tenat"),
        (JWT + "claims: {tenant: a}, leeway_s: 100000}", 2, "leeway_s"),
        (JWT + "claims: {tenant: a}, jwks_url: 'http://id.example/k'}", 2, "use https"),
        (JWT + "claims: {tenant: a}, jwks_url: 'file:///etc/passwd'}", 2, "unknown scheme"),
        (JWT + "claims: {tenant: a}, jwks_url: 'https://u:p@id.example'}", 2, "credentials"),
        (JWT + "claims: {tenant: a}, jwks_url: 'https://169.254.169.254/'}", 2, "link-local"),
        ("jwt: {issuer: 'https://a?b', audience: b, give: {tenant: a}}", 2, "no `?`"),
        ("jwt: {issuer: 'https://a', give: {tenant: a}}", 2, "audience"),
        (JWT + "give: {tenant: sluice-shadow}}", 2, "the router's own"),
        (JWT + "give: {tenant: ' a'}}", 2, "not a name"),
        (JWT + "give: {tenant: a, lanes: [cpo]}}", 2, "did you mean `cpu`?"),
        (JWT + "give: {tenant: a, models: [n]}}", 2, "unknown model `n`"),
        (JWT + "give: {tenant: a, admin: true}}", 2, "admin"),
        (JWT + "give: {tenant: a, requests_per_min: 0}}", 2, "requests_per_min"),
        (IAM + "team: '*'}]}", 2, "not a name"),
        (IAM + "may: [everything]}]}", 2, "everything"),
        ("iam: {principals: []}", 2, "principals"),
        ("iam: {principals: [{arn: role/a, tenant: t}]}", 2, "not the ARN of a principal"),
        (
            (
                "iam:\n  principals:\n"
                "    - {arn: 'arn:aws:iam::111122223333:role/a*', tenant: t}\n"
                "    - {arn: 'arn:aws:iam::111122223333:role/path/ab', tenant: t}\n"
            ),
            5,
            "never reached: principals[0] matches first",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(text, where, what):
    said = problems(text)
    assert what in said
    assert f"auth.yaml:{where}: " in said


def test_every_mistake_is_told_at_once():
    said = problems(
        JWT + "give: {lanes: [x], concurrent: 1}}\niam: {principals: [{arn: a, tenant: t}]}"
    )
    assert said.count("auth.yaml:") == 3


# -- principals ------------------------------------------------------------------------------------

ROLE = Principal("aws", "111122223333", "role", "search")


@pytest.mark.parametrize(
    ("arn", "who"),
    [
        ("arn:aws:iam::111122223333:role/search", ROLE),
        ("arn:aws:iam::111122223333:role/team/a/search", ROLE),
        ("arn:aws:sts::111122223333:assumed-role/search/anything@example.com", ROLE),
        (
            "arn:aws-cn:iam::111122223333:user/path/bob",
            Principal("aws-cn", "111122223333", "user", "bob"),
        ),
        (
            "arn:aws:sts::111122223333:federated-user/bob",
            Principal("aws", "111122223333", "federated-user", "bob"),
        ),
        ("arn:aws:iam::111122223333:root", Principal("aws", "111122223333", "root", "")),
    ],
)
def test_a_principal_is_read_from_its_arn(arn, who):
    assert principal(arn) == who


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "bob",
        "arn:aws:iam::1111:role/a",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::111122223333:role",
        "arn:aws:iam::111122223333:root/a",
        "arn:aws:iam::111122223333:assumed-role/a/b",
        "arn:aws:sts::111122223333:assumed-role/a",
        "arn:aws:sts::111122223333:assumed-role/a/b/c",
        "arn:aws:iam::111122223333:role/a*",
        "arn:aws:iam::111122223333:role/a\n",
        "arn:aws:iam::١١١١٢٢٢٢٣٣٣٣:role/a",
        "arn:aws:s3:::bucket/a",
    ],
)
def test_what_is_no_principal_is_nobody(arn):
    assert principal(arn) is None


def test_sessions_of_a_role_are_one_identity():
    one, two = (principal(f"arn:aws:sts::111122223333:assumed-role/search/{s}") for s in "ab")
    assert str(one) == str(two) == "arn:aws:iam::111122223333:role/search"


def test_a_pattern_covers_names_of_its_account_and_kind_only():
    covers = pattern("arn:aws:iam::111122223333:role/sea*").covers
    assert covers(ROLE)
    assert not covers(principal("arn:aws:iam::111122223333:role/se"))
    assert not covers(principal("arn:aws:iam::111122223333:user/search"))
    assert not covers(principal("arn:aws:iam::999922223333:role/search"))
    assert not covers(principal("arn:aws-cn:iam::111122223333:role/search"))


@pytest.mark.parametrize(
    "arn",
    [
        "*",
        "arn:aws:iam::*:role/a",
        "arn:aws:iam::111122223333:*",
        "arn:aws:iam::111122223333:root*",
        "arn:aws:iam::111122223333:role/a*b",
        "arn:aws:sts::111122223333:assumed-role/a/*",
    ],
)
def test_a_pattern_that_says_too_much_or_too_little_is_told(arn):
    assert "valid: `arn:aws:iam::" in pattern(arn)
