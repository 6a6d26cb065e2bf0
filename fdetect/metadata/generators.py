"""THE table of names and texts by which programs and cameras make themselves known in metadata.

A row says where a text must stand, what shape it must have, and what it would mean.  A key alone is no sign: the word
"prompt" or "Dream" may stand in any file, so each text is checked for the form in which its program writes it.
What hides in pixels is not looked for: NovelAI's text in the alpha channel, invisible watermarks (SynthID, Stable
Signature, the bits of Stable Diffusion XL and FLUX).  Pictures of ChatGPT, Firefly, Designer and others state their
origin by Content Credentials, which `credentials` reads.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ROWS", "Row"]


@dataclass(frozen=True)
class Row:
    """One sign.

    key      its name in this table
    where    pattern of the whole "source:name" of a field, any case; of XMP paths the last name
    shape    patterns that must all be found in its text, any case
    meaning  a key of `claims.MEANINGS`
    note     who writes it
    also     pattern of a whole "source:name" that must stand in the file as well, and of its text
    """

    key: str
    where: str
    shape: tuple[str, ...]
    meaning: str
    note: str
    also: tuple[str, str] | None = None


_JSON = r"\A\s*\{"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

# fields that name the program which wrote the file, and those that name whom it is owed to
_PROGRAM = (
    r"EXIF:(?:Software|ProcessingSoftware|ImageEditor|RAWDevelopingSoftware|ImageEditingSoftware)"
    r"|PNG text:(?:Software|CreatorTool)"
    r"|XMP:(?:xmp:CreatorTool|stEvt:softwareAgent|tiff:Software|pdf:Producer|exifEX:\w*Software)"
    r"|IPTC:Originating Program"
)
_CREDIT = (
    r"EXIF:(?:Artist|Make|XPAuthor|Photographer)|PNG text:(?:Author|Artist|Source)"
    r"|XMP:(?:dc:creator|photoshop:Credit|photoshop:Source|tiff:Artist|tiff:Make)|IPTC:(?:By-line|Credit|Source)"
)
_CAPTION = r"PNG text:(?:Description|Comment)|EXIF:(?:ImageDescription|UserComment)|XMP:dc:description|IPTC:Caption"
_SETTINGS = r"PNG text:parameters|EXIF:UserComment|XMP:exif:UserComment|(?:JPEG|GIF) comment:comment"

_GENERATORS = (
    r"(?:Midjourney|Niji ?journey|DALL[ ·.-]?E|OpenAI|ChatGPT|gpt-image|Adobe Firefly|Google (?:Imagen|Gemini)"
    r"|Bing Image Creator|Stable ?Diffusion|Stability AI|DreamStudio|Stable Cascade|ComfyUI|InvokeAI|AUTOMATIC1111"
    r"|Fooocus|(?:Stable)?SwarmUI|SD\.Next|Easy Diffusion|Draw Things|DiffusionBee|NovelAI|Leonardo[. ]?AI|Ideogram"
    r"|xAI|FLUX\.[12]|Black Forest Labs|(?:Imagine with )?Meta AI|Craiyon|NightCafe)"
)
_EDITORS = (
    r"(?:(?:Adobe )?Photoshop|Adobe (?:Lightroom|Camera Raw|ImageReady|Express|Bridge|Illustrator)|Lightroom|GIMP"
    r"|Snapseed|Affinity|Capture One|darktable|RawTherapee|Pixelmator|Paint\.NET|Paint Shop|PaintShop|Picasa|Canva"
    r"|PicsArt|VSCO|ACDSee|ACD Systems|Luminar|Krita|digiKam|IrfanView|XnView|ImageMagick|GraphicsMagick|Polarr"
    r"|Facetune|Meitu|FaceApp|Instagram|Aperture|iPhoto|Microsoft (?:Designer|Windows Photo|Photo|Paint)|Photos \d"
    r"|DxO|Nikon (?:Transfer|Capture|NX|ViewNX)|Digital Photo Professional|Corel|Topaz|ON1|Photomator|Inkscape)"
)

ROWS = (
    Row("web UI settings", _SETTINGS, (r"\bSteps: \d+, ", r"\b(?:Sampler|CFG scale): ", r"\bSeed: \d+"), "generated",
        "written by Stable Diffusion web UI (AUTOMATIC1111, Forge, SD.Next) and many others after it"),
    Row("ComfyUI graph", r"PNG text:prompt", (_JSON, r'"class_type"\s*:\s*"', r'"inputs"\s*:\s*\{'), "generated",
        "written by ComfyUI: the graph that was run"),
    Row("ComfyUI workflow", r"PNG text:workflow", (_JSON, r'"nodes"\s*:\s*\[', r'"links"\s*:\s*\['), "generated",
        "written by ComfyUI: the graph as it was drawn"),
    Row("ComfyUI in EXIF", r"EXIF:(?:Make|Model|Software|ImageDescription|UserComment|DocumentName|Artist)",
        (r"\A(?:prompt|workflow):\s*\{", r'"class_type"\s*:\s*"|"nodes"\s*:\s*\['), "generated",
        "written by ComfyUI into WebP"),
    Row("InvokeAI settings", r"PNG text:invokeai_metadata",
        (_JSON, r'"(?:app_version|generation_mode|positive_prompt|model|model_weights)"\s*:'), "generated",
        "written by InvokeAI 3 and later"),
    Row("InvokeAI graph", r"PNG text:invokeai_(?:graph|workflow)", (_JSON, r'"nodes"\s*:\s*[\[{]'), "generated",
        "written by InvokeAI 3 and later"),
    Row("InvokeAI sd-metadata", r"PNG text:sd-metadata", (_JSON, r'"image"\s*:\s*\{|"model_(?:weights|hash)"\s*:'),
        "generated", "written by InvokeAI 2"),
    Row("InvokeAI Dream", r"PNG text:Dream", (r'\A\s*"', r"(?-i:\s-s ?\d+\b)", r"(?-i:\s-S ?\d+\b)"), "generated",
        "written by the first InvokeAI: the command that was given"),
    Row("NovelAI settings", r"PNG text:Comment|EXIF:UserComment",
        (_JSON, r'"steps"\s*:\s*\d', r'"sampler"\s*:', r'"(?:uc|signed_hash|uncond_scale|noise_schedule)"\s*:'),
        "generated", "written by NovelAI"),
    Row("NovelAI title", r"PNG text:Title|EXIF:ImageDescription", (r"\A(?:NovelAI|AI) generated image\Z",), "generated",
        "written by NovelAI"),
    Row("NovelAI model", r"PNG text:Source", (r"\A(?:Stable Diffusion|NovelAI Diffusion)\b",), "generated",
        "written by NovelAI: the model", also=(r"PNG text:Software", r"\ANovelAI")),
    Row("Fooocus scheme", r"PNG text:fooocus_scheme|EXIF:MakerNote", (r"\A(?:fooocus|a1111)\Z",), "generated",
        "written by Fooocus"),
    Row("Fooocus settings", _SETTINGS + r"|PNG text:Comment", (_JSON, r'"base_model', r'"performance'), "generated",
        "written by Fooocus"),
    Row("SwarmUI settings", _SETTINGS + r"|EXIF:Model", (_JSON, r'"sui_image_params"\s*:\s*\{'), "generated",
        "written by SwarmUI"),
    Row("Easy Diffusion model", r"PNG text:(?:use_stable_diffusion_model|Stable Diffusion model)", (r"\S",),
        "generated", "written by Easy Diffusion", also=(r"PNG text:seed", r"\A\d+\Z")),
    Row("Easy Diffusion settings", _SETTINGS, (_JSON, r'"use_stable_diffusion_model"\s*:', r'"seed"\s*:'), "generated",
        "written by Easy Diffusion"),
    Row("TensorArt settings", r"PNG text:generation_data", (_JSON, r'"prompt"\s*:', r'"(?:baseModel|samplerName)"\s*:'),
        "generated", "written by TensorArt"),
    Row("Midjourney job", _CAPTION, (rf"\bJob ID: {_UUID}",), "generated",
        "written by Midjourney: the prompt and the number of the job"),
    Row("Midjourney prompt", _CAPTION, (r"\s--(?:v|niji) \d", r"\s--(?:ar|aspect) \d+:\d+"), "generated",
        "flags of a prompt as Midjourney takes them"),
    Row("Draw Things settings", r"(?:XMP:exif|EXIF):UserComment",
        (_JSON, r'"c"\s*:', r'"uc"\s*:', r'"sampler"\s*:', r'"seed"\s*:'), "generated", "written by Draw Things"),
    Row("Grok signature", r"EXIF:Artist", (rf"\A{_UUID}\Z",), "generated",
        "written by Grok of xAI, whose description is a signature",
        also=(r"EXIF:ImageDescription", r"\ASignature: ?[A-Za-z0-9+/=_-]{20,}\Z")),
    Row("FLUX reference code", r"EXIF:Software", (r"\AAI generated\b",), "generated",
        "written by the reference code of Black Forest Labs, and by others"),
    Row("Google AI credit", _CREDIT + r"|PNG text:Credit", (r"\A(?:Made|Edited|Created) with Google AI\Z",),
        "generated", "written by Google (Gemini, Imagen, Photos); \"Edited\" where only a part was generated"),
    Row("Meta AI credit", _CREDIT + r"|IPTC:Special Instructions|XMP:photoshop:Instructions",
        (r"\A(?:Imagined|Made) with (?:Meta )?AI\Z",), "generated", "written by Meta AI"),
    Row("IPTC system", r"XMP:Iptc4xmpExt:AI(?:SystemUsed|SystemVersionUsed|PromptInformation|PromptWriterName)",
        (r"\S",), "generated", "fields of the IPTC for generated pictures (standard of 2025)"),
    Row("Chinese label", r"XMP:TC260:AIGC|PNG text:AIGC|EXIF:UserComment",
        (_JSON, r'"Label"\s*:\s*"?[123]\b', r'"(?:ContentProducer|ProduceID)"\s*:'), "generated",
        "the label that China asks of generators and sites (GB 45438-2025); 1 is certain, 2 and 3 are suspicions"),
    Row("generating program", _PROGRAM, (rf"\A{_GENERATORS}(?![A-Za-z])",), "generated",
        "names a program or service that generates pictures"),
    Row("credit to a generator", _CREDIT, (rf"\A(?:{_GENERATORS})(?: AI)?(?: v?[\d.]+)?\Z",), "generated",
        "names a program or service that generates pictures"),
    Row("camera", r"EXIF:(?:Make|Model)|XMP:tiff:(?:Make|Model)", (r"\w",), "camera",
        "written by cameras and phones, beside the exposure or the time of capture",
        also=(r"(?:EXIF:|XMP:exif:)(?:ExposureTime|FNumber|ISOSpeedRatings|FocalLength|DateTimeOriginal)", r"[1-9]")),
    Row("file source", r"EXIF:FileSource", (r"camera|scanner",), "camera", "written by cameras and scanners"),
    Row("raw developer", r"XMP:crs:(?:Version|ProcessVersion)", (r"\d",), "edited",
        "settings of Adobe Camera Raw or Lightroom"),
    Row("editing program", _PROGRAM, (rf"\A{_EDITORS}(?![A-Za-z])",), "edited", "names a program that edits pictures"),
)  # fmt: skip
