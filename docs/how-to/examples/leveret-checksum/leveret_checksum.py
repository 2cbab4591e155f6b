"""A task of Leveret: the SHA-256 of every stream of a media file, whatever container holds them."""

from typing import ClassVar

from pydantic import Field

from worker import Files, FileUse, Model, Pipeline, Task, TaskContext, ToolFailed


class ChecksumParams(Model):
    """The data of a checksum task."""

    source: str = Field(min_length=1, max_length=4096, description="The media file to read.")
    output_file: str = Field(min_length=1, max_length=4096, description="The text file to write.")


class ChecksumTask(Task[ChecksumParams]):
    """Writes one line a stream: its index, its kind, its SHA-256."""

    module: ClassVar[str] = "checksum"
    params = ChecksumParams

    def files(self, params: ChecksumParams) -> Files:
        """Return the file that is read and the file that is made."""
        return Files(
            reads=(FileUse("source", params.source),),
            writes=(FileUse("output_file", params.output_file),),
        )

    async def run(self, params: ChecksumParams, context: TaskContext) -> None:
        """Hash the streams with ffmpeg and keep what it prints."""
        source = await context.input(params.source)
        info = await context.probe(source)  # BadInput for what is no media
        flags = ("-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe")
        hashed = ("-map", "0", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-")
        (done,) = await context.run(Pipeline.of(context.tool("ffmpeg"), *flags, "-i", f"file:{source}", *hashed))
        if not done.ok or done.output.count("\n") != len(info.streams):
            raise ToolFailed(str(done))
        context.output(params.output_file, media_type="text/plain").write_text(done.output)
        context.note("checksums", len(info.streams))
