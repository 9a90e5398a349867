"""Videos that could not be read in a pass: counted once each over all ranks, listed at its end, too many refused."""

from slowfast.datasets.base import Unread, VideoDataset
from slowfast.utils.distributed import gather_objects
from slowfast.utils.logging import logger

SHOWN = 20


class TooManyBadVideosError(ValueError):
    """More training videos than DATA.MAX_BAD_VIDEOS allows cannot be read. Raised on every rank."""

    on_every_rank = True


class BadVideos:
    """Collects what batches say could not be read."""

    def __init__(self, dataset: VideoDataset):
        self.dataset = dataset
        self.unread: dict[int, str] = {}  # row of the list -> error

    def add(self, unread: tuple[Unread, ...]) -> None:
        self.unread.update(unread)

    def report(self, consequence: str, max_share: float = 1.0) -> None:
        """Lists the videos of all ranks with their list lines; `consequence` says what was done about them.

        Raises:
            TooManyBadVideosError: they are more than `max_share` of the list.
        """
        unread, listed, shown = self.gather()
        if not unread:
            return
        if len(unread) > max_share * self.dataset.num_videos:
            raise TooManyBadVideosError(
                f"{listed}, more than DATA.MAX_BAD_VIDEOS {max_share:g} allows:\n{shown}\n"
                "Correct the files or take them off the list (`python -m slowfast.datasets.doctor` finds them "
                "all), or raise DATA.MAX_BAD_VIDEOS."
            )
        logger.warning("%s; %s:\n%s", listed, consequence, shown)

    def refuse(self) -> None:
        """Ends a pass in which a batch has a video that none could replace; every rank calls it.

        Raises:
            TooManyBadVideosError: always, with the videos of all ranks.
        """
        _, listed, shown = self.gather()
        raise TooManyBadVideosError(
            f"{listed}, and a batch could not be filled with others:\n{shown}\nCheck that the disk is there, "
            "DATA.PATH_PREFIX and the files."
        )

    def gather(self) -> tuple[dict[int, str], str, str]:
        """The unread videos of all ranks, how many they are, and their lines."""
        unread = {row: error for each in gather_objects(self.unread) for row, error in each.items()}
        listed = f"{len(unread)} of {self.dataset.num_videos} videos of {self.dataset.list_path} could not be read"
        return unread, listed, list_rows(self.dataset, unread)


def list_rows(dataset: VideoDataset, notes: dict[int, str]) -> str:
    """A line per row of the list: file:line and its note; the first 20, and how many more there are."""
    lines = [f"  {dataset.list_path}:{dataset.entries[row].line}: {notes[row]}" for row in sorted(notes)]
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(lines[:SHOWN] + more)
