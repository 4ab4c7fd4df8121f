"""Templates that a customer writes to harm others, by nesting, sharing, repetition and recursion, from a seed."""

import random

# A first statement, and one that is repeated: each makes the value `a` larger.
VALUES = [
    ("{% set a = [1] %}", "{% set a = [a, a] %}"),
    ("{% set a = [] %}", "{% set a = a + a %}"),
    ("{% set a = {} %}", "{% set a = {'x': a, 'y': a} %}"),
    ("{% set a = (1,) %}", "{% set a = a, a %}"),
    ("{% set a = namespace(x=[1]) %}", "{% set a.x = [a.x, a.x] %}"),
    ("{% set a = namespace() %}", "{% set a.x = a %}"),
    ("{% set a = namespace() %}", "{% set a = namespace(x=a, y=a) %}"),
    ("{% set a = 'a' %}", "{% set a = a ~ a %}"),
    ("{% set a = [1] %}", "{% set a = a * 1000000 %}"),
    ("{% set a = [1] %}", "{% set a = a|zip(a)|list %}"),
    ("{% set a = [1] %}", "{% set a = [a] %}"),
]
USES = [
    "{{ a }}",
    "{{ a == [a] }}",
    "{{ a|tojson }}",
    "{{ a|join('x') }}",
    "{{ a|upper }}",
    "{{ a ~ a }}",
    "{% for x in range(9999) %}{% if a in [a] %}{% endif %}{% endfor %}",
    "{% for x in a recursive %}{{ loop(a) }}{% endfor %}",
    "{% macro m(x) %}{{ m([x, x]) }}{% endmacro %}{{ m(a) }}",
    "{{ a|sort|unique|list }}",
]
SHAPES = [
    ("{{ ", "-", "1 }}"),
    ("{{ ", "not ", "1 }}"),
    ("{{ 1", "+1", " }}"),
    ("{{ ", "(", "1 }}"),
    ("{{ ", "[", "1 }}"),
    ("{{ a", ".a", " }}"),
    ("{{ a", "|abs", " }}"),
    ("{{ 1", " if 1 else 1", " }}"),
    ("", "{% if 1 %}", "x"),
    ("{% if 1 %}", "{% elif 1 %}", "{% endif %}"),
    ("{% raw %}", "{%", "{% endraw %}"),
    ("{{ ", "9", " }}"),
]


def template(chance: random.Random) -> str:
    """One template."""
    if chance.random() < 0.3:
        before, again, after = chance.choice(SHAPES)
        return before + again * chance.choice([100, 3000, 30_000]) + after
    first, again = chance.choice(VALUES)
    return first + again * chance.choice([5, 12, 40, 300]) + chance.choice(USES)
