"""The part of Go's text/template that ``--format`` needs."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from engine.cli.template_parse import TemplateError
from engine.cli.template_run import NIL, GoStruct, NilSlice, OpenMap, Row, Template

DATA: dict[str, Any] = {
    "A": {"B": [1, 2, {"c": None}]},
    "N": 3,
    "S": "hello",
    "M": OpenMap({"b": 1.5, "a": "x"}),
    "Yes": True,
    "Empty": [],
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("{{.A.B}}", "[1 2 map[c:<nil>]]"),
        ("{{.M}}", "map[a:x b:1.5]"),
        ("{{.M.nope}}", "<no value>"),
        ("{{json .M}}", '{"b":1.5,"a":"x"}'),
        ("{{range $i, $e := .A.B}}{{$i}}={{$e}};{{end}}", "0=1;1=2;2=map[c:<nil>];"),
        ("{{range .M}}{{.}},{{else}}none{{end}}", "x,1.5,"),
        ("{{range .Empty}}{{.}}{{else}}none{{end}}", "none"),
        ("{{range .A.B}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}}", "1"),
        ("{{range $k, $v := .M}}{{if eq $k `a`}}{{continue}}{{end}}{{$k}}{{end}}", "b"),
        ("{{with .S}}{{.}}!{{else}}none{{end}}", "hello!"),
        ("{{if eq .N 3}}three{{else if eq .N 4}}four{{else}}many{{end}}", "three"),
        ("{{if and .Yes (gt .N 2) (not .Empty)}}ok{{end}}", "ok"),
        ("{{or .Empty .S}} {{and .S .N}}", "hello 3"),
        ("{{$x := .N}}{{$x = 5}}{{$x}}{{$.S}}", "5hello"),
        ('{{printf "%-8s|%4d|%q|%v" .S .N .S .Yes}}', 'hello   |   3|"hello"|true'),
        ('{{.S | upper | printf "%s!"}}', "HELLO!"),
        ("{{index .A.B 1}} {{index .M `b`}} {{index .M `zz`}}", "2 1.5 <no value>"),
        ("{{len .S}} {{len .A.B}}", "5 3"),
        ('{{split .S "l"}} {{join (split .S "l") "-"}}', "[he  o] he--o"),
        ("{{title .S}} {{lower `ABC`}} {{truncate .S 2}} {{pad .S 1 2}}|", "Hello abc he  hello  |"),
        ("a {{- .S -}} b", "ahellob"),
        ("{{/* nothing */}}x{{- /* trimmed */ -}} y", "xy"),
        ("{{println .N `a`}}", "3 a\n"),
        ("{{(index .A.B 2).c}}", "<no value>"),
        ("{{ne .N 3}} {{lt .N 4}} {{ge .N 3}} {{eq .N 1 2 3}}", "false true true true"),
        ('{{"\\u00e9\\t"}}|{{`raw\\n`}}', "é\t|raw\\n"),
    ],
)
def test_templates_render_as_go_renders_them(source: str, text: str) -> None:
    assert Template(source).render(DATA) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{.S", "template: :1: unclosed action"),
        ("{{nope .S}}", 'template: :1: function "nope" not defined'),
        ("{{end}}", "template: :1: unexpected {{end}}"),
        ("{{if .S}}x", "template: :1: unexpected EOF"),
        ("{{}}", "template: :1: missing value for command"),
        ("{{$x}}", 'template: :1: undefined variable "$x"'),
        ("a\n{{break}}", "template: :2: {{break}} outside {{range}}"),
        ("{{.Foo}}", 'template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("{{.A.Foo}}", 'template: :1:4: executing "" at <.A.Foo>: map has no entry for key "Foo"'),
        ("{{.S.Foo}}", 'template: :1:4: executing "" at <.S.Foo>: can\'t evaluate field Foo in type string'),
        ("{{lt .N `x`}}", 'template: :1:2: executing "" at <lt>: error calling lt: incompatible types for comparison'),
    ],
)
def test_mistakes_have_gos_texts(source: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(source).render(DATA)
    assert str(caught.value) == message


class Thing(Row):
    type_name = "*formatter.thing"
    fields: ClassVar = {"Name": lambda _row: "a<b>", "ID": lambda _row: "1"}
    methods: ClassVar = {"Label": lambda _row, name: f"<{name}>"}


def test_rows_compute_fields_and_methods_and_have_a_json_form() -> None:
    assert Template('{{.Name}} {{.Label "x.y"}}').render(Thing()) == "a<b> <x.y>"
    assert Template("{{json .}}").render(Thing()) == '{"ID":"1","Name":"a\\u003cb\\u003e"}'
    with pytest.raises(TemplateError, match=r"can't evaluate field Nope in type \*formatter\.thing"):
        Template("{{.Nope}}").render(Thing())


def test_fields_that_the_engine_left_out_are_zero_and_unknown_ones_errors() -> None:
    struct = GoStruct({"Name": "x", "Args": NilSlice()}, "", {"Health": NIL, "Restarts": 0})
    assert Template("{{if .Health}}has{{else}}none{{end}} {{.Restarts}} {{.Args}}").render(struct) == "none 0 []"
    assert Template("{{json .}}").render(struct) == '{"Name":"x","Args":null}'
    with pytest.raises(TemplateError, match="map has no entry"):
        Template("{{.Nope}}").render(struct)
