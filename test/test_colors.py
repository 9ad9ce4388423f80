import numpy as np

from lift_gs_ros.colors import confidence_color, instance_color


def lightness(color) -> float:
    """CIE L* of an sRGB colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return 116 * np.cbrt(luminance) - 16


def test_a_surer_answer_is_lighter_by_the_same_step_everywhere():
    steps = np.diff([lightness(confidence_color(score)) for score in np.linspace(0, 1, 11)])
    assert steps.min() > 0
    assert steps.max() < 2 * steps.min()


def test_objects_next_to_each_other_in_number_differ_in_colour():
    for number in range(20):
        a, b = np.array(instance_color(number)), np.array(instance_color(number + 1))
        assert np.abs(a - b).max() > 0.3
