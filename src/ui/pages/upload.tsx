import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { type Manifest, type NearfarError, parseManifest } from '../../core/index.ts';
import { toNearfarError } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Failure, formatBytes, Icon } from '../parts/index.ts';
import { hrefOf } from '../route.ts';
import { filesOfDrop, filesOfInput, type SendProgress, sendVersion, type VersionFile } from '../upload/index.ts';

/** Sends a version from this machine. */
export function UploadPage() {
  const { live, route, notice } = useApp();
  const model = useSignal(route.value.query.get('model') ?? '');
  const version = useSignal('');
  const files = useSignal<readonly VersionFile[]>([]);
  const isOver = useSignal(false);
  const sending = useSignal<AbortController | undefined>(undefined);
  const progress = useSignal<SendProgress | undefined>(undefined);
  const error = useSignal<NearfarError | undefined>(undefined);
  const published = useSignal<{ model: string; version: string } | undefined>(undefined);
  const isPaused = useSignal(false);
  useEffect(() => () => sending.peek()?.abort(), []);
  const take = async (found: readonly VersionFile[]) => {
    files.value = found;
    published.value = undefined;
    error.value = undefined;
    isPaused.value = false;
    try {
      // It says itself which version of which model it is.
      const described = await describedBy(found);
      if (!described) return;
      version.value = described.version;
      if (model.value === '') model.value = described.name;
    } catch (cause) {
      error.value = toNearfarError(cause);
    }
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    const aborter = new AbortController();
    sending.value = aborter;
    error.value = undefined;
    published.value = undefined;
    isPaused.value = false;
    const name = model.value;
    try {
      const asked = { model: name, version: version.value === '' ? undefined : version.value, files: files.value };
      const sent = await sendVersion(asked, (now) => (progress.value = now), aborter.signal);
      published.value = { model: name, version: sent.version };
      notice.value = `Version ${sent.version} of ${name} is published.`;
      files.value = [];
    } catch (cause) {
      if (aborter.signal.aborted) isPaused.value = true;
      else error.value = toNearfarError(cause);
    } finally {
      sending.value = undefined;
      progress.value = undefined;
    }
  };
  const bytes = files.value.reduce((sum, { file }) => sum + file.size, 0);
  const isSending = sending.value !== undefined;
  return (
    <>
      <div class="title">
        <h1>Upload a version</h1>
      </div>
      <section aria-label="The version">
        <form class="fields" onSubmit={submit}>
          <fieldset disabled={isSending}>
            <div class="columns">
              <label class="field">
                Model
                <input
                  value={model.value}
                  list="known-models"
                  required
                  autoComplete="off"
                  onInput={({ currentTarget }) => {
                    model.value = currentTarget.value.trim();
                  }}
                />
              </label>
              <label class="field">
                Version
                <input
                  value={version.value}
                  inputMode="numeric"
                  pattern="[1-9][0-9]*"
                  placeholder="the manifest's, or the next"
                  onInput={({ currentTarget }) => {
                    version.value = currentTarget.value.trim();
                  }}
                />
              </label>
            </div>
            <datalist id="known-models">
              {live.models.value?.map(({ name }) => (
                <option key={name} value={name} />
              ))}
            </datalist>
            <Picker isOver={isOver.value} over={(now) => (isOver.value = now)} take={(found) => void take(found)} />
          </fieldset>
          {files.value.length > 0 && (
            <details>
              <summary>
                {files.value.length} {files.value.length === 1 ? 'file' : 'files'}, {formatBytes(bytes)}
              </summary>
              <ul class="plain small files">
                {files.value.map(({ path, file }) => (
                  <li key={path}>
                    <code>{path}</code> <span class="soft">{formatBytes(file.size)}</span>
                  </li>
                ))}
              </ul>
            </details>
          )}
          {progress.value && <Progress progress={progress.value} />}
          {isPaused.value && <p class="banner small">Paused. What was sent stays with the server: press Upload to go on.</p>}
          {error.value && <Failure error={error.value} />}
          {published.value && (
            <p class="banner" role="status">
              Version {published.value.version} of {published.value.model} is published.{' '}
              <a href={hrefOf(['models', published.value.model])}>See it load</a>
            </p>
          )}
          <p class="row">
            <button type="submit" class="primary" disabled={isSending || files.value.length === 0}>
              Upload
            </button>
            {isSending && (
              <button type="button" onClick={() => sending.value?.abort()}>
                Pause
              </button>
            )}
          </p>
        </form>
      </section>
      <p class="soft small">
        A version is a folder with <code>manifest.json</code>, or a plain SavedModel, ONNX or TensorFlow.js model. It appears whole or not
        at all, when the digests of all its files are right. From a terminal: <code>nearfar upload FOLDER --name MODEL</code>.
      </p>
    </>
  );
}

/** @throws {NearfarError} `invalid-argument` for a manifest that is none. */
async function describedBy(files: readonly VersionFile[]): Promise<Manifest | undefined> {
  const manifest = files.find(({ path }) => path === 'manifest.json');
  return manifest && parseManifest(new Uint8Array(await manifest.file.arrayBuffer()));
}

interface PickerProps {
  readonly isOver: boolean;
  readonly over: (isOver: boolean) => void;
  readonly take: (files: readonly VersionFile[]) => void;
}

function Picker({ isOver, over, take }: PickerProps) {
  const input = useRef<HTMLInputElement>(null);
  // No attribute of the elements that JSX knows.
  useEffect(() => {
    if (input.current) input.current.webkitdirectory = true;
  }, []);
  return (
    <label
      class="drop"
      data-over={isOver}
      onDragOver={(event) => {
        event.preventDefault();
        over(true);
      }}
      onDragLeave={() => over(false)}
      onDrop={(event) => {
        event.preventDefault();
        over(false);
        if (event.dataTransfer) void filesOfDrop(event.dataTransfer).then(take);
      }}
    >
      <input
        ref={input}
        class="hidden"
        type="file"
        multiple
        aria-label="Folder"
        onChange={({ currentTarget }) => take(filesOfInput(currentTarget.files ?? []))}
      />
      <Icon name="upload" />
      <span class="soft small">Pick the folder of a version, or drop it here</span>
    </label>
  );
}

const phases = { reading: 'Reading', sending: 'Sending', checking: 'The server checks all files' };

function Progress({ progress: { phase, path, done, total, broken } }: { readonly progress: SendProgress }) {
  return (
    <div class="working">
      {phase === 'checking' || broken ? (
        <progress aria-label={phases[phase]} />
      ) : (
        <progress max={Math.max(1, total)} value={done} aria-label={phases[phase]} />
      )}
      <p class={broken ? 'wrong small' : 'soft small'} role={broken ? 'alert' : undefined}>
        {broken ? `Broken off (${broken.code}: ${broken.message}); it goes on by itself.` : `${phases[phase]} ${path}`}
        {!broken && phase !== 'checking' && ` · ${formatBytes(done)} of ${formatBytes(total)}`}
      </p>
    </div>
  );
}
