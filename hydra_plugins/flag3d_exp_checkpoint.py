"""A config source for Hydra with the groups of a checkpoint's run (see `config.recall`)."""

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin

from flag3d_exp.config.recalled import groups

SCHEME = "checkpoint"


class CheckpointSource(ConfigSource):
    """A config source with the choices in `groups`."""

    @staticmethod
    def scheme() -> str:
        """The scheme of the source's URLs, `checkpoint://`."""
        return SCHEME

    def available(self) -> bool:
        """Whether the source can be read."""
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        """The choice at `group/name`."""
        _, config = groups[config_path.partition("/")[0]]
        return ConfigResult(self.provider, self.full_path(), config.copy(), {"package": None})

    def is_group(self, config_path: str) -> bool:
        """Whether there is a choice of this group."""
        return config_path.rstrip("/") in groups

    def is_config(self, config_path: str) -> bool:
        """Whether `group/name` exists."""
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group in groups and groups[group][0] == name

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The choice of a group."""
        if config_path not in groups or results_filter is ObjectType.GROUP:
            return []
        return [groups[config_path][0]]


class CheckpointSearchPath(SearchPathPlugin):
    """Put the source before conf/, which may have a choice with the same name."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the source."""
        search_path.prepend(SCHEME, f"{SCHEME}://", SearchPathQuery(provider="main"))
