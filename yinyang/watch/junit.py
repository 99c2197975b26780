"""Writes the expectations as a JUnit XML file, which pipelines show as tests."""

from xml.etree import ElementTree as ET

from yinyang.watch.expectations import Expectation


def write_junit(path: str, url: str, seconds: float, expectations: list[Expectation]) -> None:
    """A test case for each, and one test suite for the watch; raises OSError if the file cannot be written."""
    failures = sum(not one.holds for one in expectations)
    suite = ET.Element(
        "testsuite",
        {
            "name": f"yinyang.watch {url}",
            "tests": str(len(expectations)),
            "failures": str(failures),
            "errors": "0",
            "time": f"{seconds:.3f}",
        },
    )
    for one in expectations:
        case = ET.SubElement(suite, "testcase", {"classname": "yinyang.watch", "name": one.expected})
        if one.holds:
            ET.SubElement(case, "system-out").text = one.seen
        else:
            ET.SubElement(case, "failure", {"message": f"expected {one.expected}, seen: {one.seen}"})
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.ElementTree(suites).write(path, "utf-8", xml_declaration=True)
