from universality.notebook_card import card


def test_names_and_values_are_escaped_and_missing_ones_left_out() -> None:
    assert card("<b>", {"<i>": "</td>&", "x": True, "none": None}) == (
        '<table style="margin:0"><caption>&lt;b&gt;</caption>'
        "<tr><th>&lt;i&gt;</th><td>&lt;/td&gt;&amp;</td></tr>"
        "<tr><th>x</th><td>True</td></tr></table>"
    )


def test_numbers_are_short() -> None:
    html = card("numbers", {"n": 12_345, "r": 0.123456, "both": {"a": 1.0, "b": 2_000}})
    assert "<td>12,345</td>" in html
    assert "<td>0.1235</td>" in html
    assert "<td>a 1, b 2,000</td>" in html
