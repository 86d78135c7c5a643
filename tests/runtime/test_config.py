from pathlib import Path

import pytest

from headgate.profiles.errors import UsageError
from headgate.runtime.config import DeviceConfig, EdgeConfig, load_config

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(tmp_path: Path, text: str = "", **environment: str) -> DeviceConfig:
    path = tmp_path / "device.toml"
    path.write_text(text)
    return load_config(DeviceConfig, flags={}, environment=environment, path=path)


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(
    tmp_path: Path,
) -> None:
    path = tmp_path / "device.toml"
    path.write_text('[device]\nsla_ms = 50\nprofile = "low-latency"\nedge = "tcp://127.0.0.1:1"\n')
    config = load_config(
        DeviceConfig,
        flags={"device.edge": "tcp://127.0.0.1:3", "device.profile": None},
        environment={"HEADGATE_DEVICE__EDGE": "tcp://127.0.0.1:2", "HEADGATE_DEVICE__SLA_MS": "70"},
        path=path,
    )
    assert config.device.edge == "tcp://127.0.0.1:3"
    assert config.device.sla_ms == 70
    assert config.device.profile == "low-latency"
    assert config.engine.threads == 1


@pytest.mark.parametrize("name", ["device", "edge"])
def test_the_example_files_say_the_defaults(name: str) -> None:
    kind = {"device": DeviceConfig, "edge": EdgeConfig}[name]
    path = EXAMPLES / f"{name}.toml"
    assert load_config(kind, flags={}, environment={}, path=path) == kind()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[device]\nslams = 50\n", r"device.toml.device: unknown keys 'slams'"),
        ("[devise]\n", r"device.toml: unknown keys 'devise'"),
        ('[device]\nsla_ms = "fast"\n', r"device.toml.device.sla_ms: expected a number"),
        ("[device\n", "device.toml: not TOML"),
        ("[device]\nsla_ms = " + 5000 * "1", "device.toml: not TOML"),
        ("[device]\nsla_ms = " + 400 * "1", "sla_ms: expected a finite number"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HEADGATE_DEVICE__SLAMS", "1", "no key 'slams' in device"),
        ("HEADGATE_DEVISE__SLA_MS", "1", "no section 'devise'"),
        ("HEADGATE_ENGINE__THREADS", "many", "'many' is not a int"),
        ("HEADGATE_SOURCE__LOOP", "perhaps", "'perhaps' is not true or false"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(
    tmp_path: Path, name: str, value: str, message: str
) -> None:
    with pytest.raises(UsageError, match=f"{name}: {message}"):
        load(tmp_path, **{name: value})


def test_a_variable_of_the_other_side_and_foreign_ones_are_no_mistake(tmp_path: Path) -> None:
    config = load(tmp_path, HEADGATE_EDGE__BIND="tcp://127.0.0.1:1", HEADGATE_HOME="/x", PATH="/")
    assert config == DeviceConfig()


def test_variables_have_the_type_of_their_key(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        HEADGATE_SOURCE__FPS="12.5",
        HEADGATE_SOURCE__LOOP="yes",
        HEADGATE_SOURCE__FRAMES="7",
        HEADGATE_SECURITY__KEYS="/keys",
    )
    assert config.source.fps == 12.5
    assert config.source.loop is True
    assert config.source.frames == 7
    assert config.security.keys == "/keys"


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(DeviceConfig, flags={}, environment={}, path=tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[source]\nfps = 0\n", r"source.fps: is 0, expected 1e-05 to 100000"),
        ("[source]\nfps = -5\n", r"source.fps: is -5, expected 1e-05 to 100000"),
        ("[source]\nfps = 1e-300\n", r"source.fps: is 1e-300, expected 1e-05 to 100000"),
        ("[source]\nframes = 0\n", r"source.frames: is 0, expected 1 or more"),
        ("[source]\nframes = -1\n", r"source.frames: is -1, expected 1 or more"),
        ("[device]\nsla_ms = 0\n", r"device.sla_ms: is 0, expected more than 0, up to 1000000"),
        ("[device]\nsla_ms = 1e12\n", r"device.sla_ms: is 1e\+12, expected more than 0, up to"),
        ("[engine]\nthreads = -1\n", r"engine.threads: is -1, expected 0 to 1024"),
        ("[engine]\nthreads = 100000\n", r"engine.threads: is 100000, expected 0 to 1024"),
    ],
)
def test_a_number_no_run_can_use_is_refused_from_a_file_too(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load(tmp_path, text)


def test_a_number_out_of_range_is_refused_from_the_environment(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"source.fps: is -1"):
        load(tmp_path, HEADGATE_SOURCE__FPS="-1")
    with pytest.raises(UsageError, match=r"edge.max_batch: is 257, expected 1 to 256"):
        load_config(
            EdgeConfig, flags={}, environment={"HEADGATE_EDGE__MAX_BATCH": "257"}, path=None
        )
