import { useEffect, useRef } from 'preact/hooks';
import type { AnyTensor, Detection } from '../../core/index.ts';
import { formatMs, formatNumber, shortDigest } from '../parts/index.ts';
import type { ClassScore, Outcome, VersionAnswer } from './ask-version.ts';
import { valuesOf } from './tensor-text.ts';

interface AnswerProps {
  readonly answer: VersionAnswer;
  /** What the answer is about, where that is a picture. */
  readonly picture?: Blob | undefined;
}

/** An answer as its task has it: bars, boxes, masks, a picture, or numbers. */
export function AnswerView({ answer, picture }: AnswerProps) {
  const { version, digest, backend, variant, totalMs, phases } = answer;
  const serverMs = Object.values(phases).reduce((sum, ms) => sum + ms, 0);
  return (
    <div class="answer">
      <OutcomeView outcome={answer.outcome} picture={picture} />
      <p class="soft small">
        version {version} on {backend} ({variant}), {formatMs(totalMs)}
        {serverMs > 0 && ` of which ${formatMs(serverMs)} in the server`} · <code title={digest}>{shortDigest(digest)}</code>
      </p>
    </div>
  );
}

function OutcomeView({ outcome, picture }: { readonly outcome: Outcome; readonly picture: Blob | undefined }) {
  switch (outcome.kind) {
    case 'classes':
      return <Classes classes={outcome.classes.slice(0, 8)} />;
    case 'boxes':
      return <Boxes found={outcome.found} picture={picture} />;
    case 'mask':
      return <Mask outcome={outcome} picture={picture} />;
    case 'picture':
      return <img class="shown" src={`data:image/png;base64,${outcome.picture.png}`} alt="The answer" />;
    case 'tensors':
      return (
        <>
          {Object.entries(outcome.tensors).map(([name, tensor]) => (
            <TensorView key={name} name={name} tensor={tensor} />
          ))}
        </>
      );
  }
}

function Classes({ classes }: { readonly classes: readonly ClassScore[] }) {
  return (
    <ol class="plain bars" aria-label="Classes">
      {classes.map(({ label, index, score }) => (
        <li key={index}>
          <span>{label}</span>
          <meter min="0" max="1" value={score} aria-label={`${label}: ${(score * 100).toFixed(1)} %`} />
          <span class="right">{(score * 100).toFixed(1)} %</span>
        </li>
      ))}
    </ol>
  );
}

function Boxes({ found, picture }: { readonly found: readonly Detection[]; readonly picture: Blob | undefined }) {
  return (
    <>
      {picture && (
        <Overlay
          picture={picture}
          about={found}
          draw={(context, scale) => drawBoxes(context, found, scale)}
          name={`${found.length} found in the picture`}
        />
      )}
      {found.length === 0 ? (
        <p class="soft">Nothing was found.</p>
      ) : (
        <Classes classes={found.map(({ label, score }, index) => ({ label: `${index + 1} ${label}`, index, score }))} />
      )}
    </>
  );
}

function Mask({
  outcome: { mask, segments },
  picture,
}: {
  readonly outcome: Extract<Outcome, { kind: 'mask' }>;
  readonly picture: Blob | undefined;
}) {
  const pixels = mask.width * mask.height;
  return (
    <>
      {picture && (
        <Overlay
          picture={picture}
          about={mask}
          draw={(context) => drawMask(context, mask.png)}
          name="The classes of the picture's pixels"
        />
      )}
      <ol class="plain bars" aria-label="Classes">
        {segments.slice(0, 8).map(({ label, index, pixels: count }) => (
          <li key={index}>
            <span>
              <Swatch index={index} /> {label}
            </span>
            <meter
              min="0"
              max="1"
              value={count / pixels}
              aria-label={`${label}: ${((count / pixels) * 100).toFixed(1)} % of the picture`}
            />
            <span class="right">{((count / pixels) * 100).toFixed(1)} %</span>
          </li>
        ))}
      </ol>
    </>
  );
}

function Swatch({ index }: { readonly index: number }) {
  return (
    <svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">
      <rect width="10" height="10" rx="2" fill={colourOf(index)} />
    </svg>
  );
}

/** Neighbours far apart: the golden angle around the circle of hues. */
function colourOf(index: number): string {
  return `hsl(${(index * 137.508 + 150) % 360} 65% 52%)`;
}

/** Pixels of the longer side. */
const smallest = 400;

type Draw = (context: CanvasRenderingContext2D, scale: number) => void | Promise<void>;

/** A picture with something drawn over it, in its own pixels. */
function Overlay({
  picture,
  about,
  draw,
  name,
}: {
  readonly picture: Blob;
  readonly about: object;
  readonly draw: Draw;
  readonly name: string;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    let isGone = false;
    const paint = async () => {
      const bitmap = await createImageBitmap(picture, { colorSpaceConversion: 'none' });
      const context = canvas.current?.getContext('2d');
      if (isGone || !context || !canvas.current) return bitmap.close();
      // Small pictures are drawn larger, so that what is written over them can be read.
      const zoom = Math.max(1, Math.floor(smallest / Math.max(bitmap.width, bitmap.height)));
      canvas.current.width = bitmap.width * zoom;
      canvas.current.height = bitmap.height * zoom;
      context.imageSmoothingEnabled = false;
      context.scale(zoom, zoom);
      context.drawImage(bitmap, 0, 0);
      const scale = Math.max(bitmap.width, bitmap.height) / smallest;
      bitmap.close();
      await draw(context, scale);
    };
    // A picture that the browser cannot read, though the server could: its answer stands beside it in words.
    paint().catch(() => {});
    return () => {
      isGone = true;
    };
  }, [picture, about]);
  return <canvas class="shown" ref={canvas} role="img" aria-label={name} />;
}

function drawBoxes(context: CanvasRenderingContext2D, found: readonly Detection[], scale: number): void {
  context.font = `600 ${13 * scale}px system-ui, sans-serif`;
  context.textBaseline = 'top';
  // The best last, over the others.
  for (const [index, { label, box }] of [...found.entries()].reverse()) {
    context.strokeStyle = colourOf(index);
    context.lineWidth = 2 * scale;
    context.strokeRect(box.xmin, box.ymin, box.xmax - box.xmin, box.ymax - box.ymin);
    const text = `${index + 1} ${label}`;
    const width = context.measureText(text).width + 8 * scale;
    const top = Math.max(0, box.ymin - 18 * scale);
    context.fillStyle = colourOf(index);
    context.fillRect(box.xmin, top, width, 18 * scale);
    context.fillStyle = '#fff';
    context.fillText(text, box.xmin + 4 * scale, top + 2 * scale);
  }
}

/** Each pixel of the mask is the number of a class. */
async function drawMask(context: CanvasRenderingContext2D, png: string): Promise<void> {
  const bytes = Uint8Array.from(atob(png), (char) => char.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }), { colorSpaceConversion: 'none' });
  const { width, height } = bitmap;
  const layer = new OffscreenCanvas(width, height).getContext('2d');
  if (!layer) return;
  layer.drawImage(bitmap, 0, 0);
  const image = layer.getImageData(0, 0, width, height);
  const colours = new Map<number, Uint8ClampedArray>();
  for (let at = 0; at < image.data.length; at += 4) {
    const index = image.data[at] ?? 0;
    let colour = colours.get(index);
    if (!colour) {
      layer.fillStyle = colourOf(index);
      layer.fillRect(0, 0, 1, 1);
      colour = layer.getImageData(0, 0, 1, 1).data;
      colours.set(index, colour);
    }
    image.data.set([colour[0] ?? 0, colour[1] ?? 0, colour[2] ?? 0, 150], at);
  }
  layer.putImageData(image, 0, 0);
  const { a: zoom } = context.getTransform();
  context.drawImage(layer.canvas, 0, 0, context.canvas.width / zoom, context.canvas.height / zoom);
}

const mostShown = 200;

function listed(values: ReturnType<typeof valuesOf>): string {
  const texts = values
    .slice(0, mostShown)
    .map((value) => (typeof value === 'number' ? formatNumber(value) : typeof value === 'string' ? JSON.stringify(value) : String(value)));
  return texts.join(', ') + (values.length > mostShown ? ` … and ${values.length - mostShown} more` : '');
}

function TensorView({ name, tensor }: { readonly name: string; readonly tensor: AnyTensor }) {
  const values = valuesOf(tensor);
  const numbers = values.filter((value) => typeof value === 'number');
  const most = numbers.reduce((largest, value) => Math.max(largest, value), -Infinity);
  const isRow = numbers.length === values.length && values.length > 1 && values.length <= 24;
  const least = Math.min(0, ...(isRow ? numbers : []));
  return (
    <div class="tensor">
      <h3>
        <code>{name}</code> {tensor.dtype} [{tensor.shape.join(', ')}]
      </h3>
      {isRow ? (
        <ol class="plain bars" aria-label={name}>
          {numbers.map((value, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: the place in the tensor is what a value is known by
            <li key={index}>
              <span>{index}</span>
              <meter min={least} max={Math.max(1e-30, most)} value={value} aria-label={`${index}: ${formatNumber(value)}`} />
              <span class="right">{formatNumber(value)}</span>
            </li>
          ))}
        </ol>
      ) : (
        <textarea class="code" readOnly aria-label={`Values of ${name}`} value={listed(values)} />
      )}
    </div>
  );
}
