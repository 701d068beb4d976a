import { type Signal, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { Icon } from '../parts/index.ts';

interface PickerProps {
  readonly file: Signal<Blob | undefined>;
  readonly kind: 'picture' | 'sound';
}

/** A picture or a sound of the user's own: picked, dropped or pasted. */
export function PicturePicker({ file, kind }: PickerProps) {
  const isOver = useSignal(false);
  useEffect(() => {
    const paste = ({ clipboardData }: ClipboardEvent) => take(clipboardData?.files);
    addEventListener('paste', paste);
    return () => removeEventListener('paste', paste);
  }, []);
  const take = (files: FileList | null | undefined) => {
    if (files?.[0]) file.value = files[0];
  };
  return (
    <label
      class="drop"
      data-over={isOver.value}
      onDragOver={(event) => {
        event.preventDefault();
        isOver.value = true;
      }}
      onDragLeave={() => {
        isOver.value = false;
      }}
      onDrop={(event) => {
        event.preventDefault();
        isOver.value = false;
        take(event.dataTransfer?.files);
      }}
    >
      <input
        class="hidden"
        type="file"
        accept={kind === 'picture' ? 'image/*' : 'audio/*'}
        aria-label={kind === 'picture' ? 'Picture' : 'Sound'}
        onChange={({ currentTarget }) => take(currentTarget.files)}
      />
      {file.value && kind === 'picture' ? <Picture blob={file.value} /> : <Icon name="upload" />}
      <span class="soft small">
        {file.value && kind === 'sound'
          ? `${file.value.size} bytes of sound`
          : `Pick a ${kind}, drop it here${kind === 'picture' ? ' or paste it' : ''}`}
      </span>
    </label>
  );
}

function Picture({ blob }: { readonly blob: Blob }) {
  const url = useObjectUrl(blob);
  return <img src={url} alt="What was picked" />;
}

function useObjectUrl(blob: Blob): string | undefined {
  const url = useSignal<string | undefined>(undefined);
  useEffect(() => {
    const made = URL.createObjectURL(blob);
    url.value = made;
    return () => URL.revokeObjectURL(made);
  }, [blob]);
  return url.value;
}
