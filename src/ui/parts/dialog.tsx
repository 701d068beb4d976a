import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { NearfarError } from '../../core/index.ts';
import { toNearfarError } from '../api/index.ts';
import { useApp } from '../context.ts';
import { Failure } from './failure.tsx';

export interface ActionDialogProps {
  readonly title: string;
  readonly children: ComponentChildren;
  /** What the button says that does it. */
  readonly verb: string;
  /** Takes something away from somebody. */
  readonly isDangerous?: boolean;
  /** False where what was entered cannot be sent. */
  readonly isReady?: boolean;
  /** Shown while the server works. */
  readonly progress?: ComponentChildren;
  readonly act: (signal: AbortSignal) => Promise<unknown>;
  /** What is said when the server has done it. */
  readonly done: string;
}

/** Asks before something is changed, stays until the server has answered, and says what it answered. */
export function ActionDialog({ title, children, verb, isDangerous = false, isReady = true, progress, act, done }: ActionDialogProps) {
  const app = useApp();
  const element = useRef<HTMLDialogElement>(null);
  const working = useSignal<AbortController | undefined>(undefined);
  const error = useSignal<NearfarError | undefined>(undefined);
  useEffect(() => {
    element.current?.showModal();
    return () => working.peek()?.abort();
  }, []);
  const close = () => {
    app.dialog.value = undefined;
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    const aborter = new AbortController();
    working.value = aborter;
    error.value = undefined;
    try {
      await act(aborter.signal);
      if (aborter.signal.aborted) return;
      // It is done, whether or not it can be shown now.
      await app.live.refresh().catch(() => {});
      app.notice.value = done;
      close();
    } catch (cause) {
      if (!aborter.signal.aborted) error.value = toNearfarError(cause);
    } finally {
      working.value = undefined;
    }
  };
  const isWorking = working.value !== undefined;
  return (
    <dialog ref={element} aria-labelledby="dialog-title" onClose={close}>
      <form onSubmit={submit}>
        <h2 id="dialog-title">{title}</h2>
        <fieldset disabled={isWorking}>{children}</fieldset>
        {isWorking && (
          <div class="working" role="status">
            <progress aria-label={`${verb}: the server is at it`} />
            {progress ?? <p class="soft">The server is at it. Closing this does not stop it.</p>}
          </div>
        )}
        {error.value && <Failure error={error.value} />}
        <div class="row end">
          <button type="button" onClick={close}>
            {isWorking ? 'Close' : 'Cancel'}
          </button>
          <button type="submit" class={isDangerous ? 'danger' : 'primary'} disabled={isWorking || !isReady}>
            {verb}
          </button>
        </div>
      </form>
    </dialog>
  );
}
