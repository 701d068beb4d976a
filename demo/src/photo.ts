import { create, element } from './dom.ts';
import { samples } from './samples.ts';

/**
 * Every way a photo gets onto the page: drop, paste, pick, camera, sample. The photo is shown and handed on as it is,
 * so that the SDK sees what an application would give it.
 */
export function watchPhotos(onPhoto: (photo: Blob, name: string) => void, onProblem: (message: string) => void): void {
  const accept = (photo: Blob, name: string) =>
    showPhoto(photo, name).then(
      () => onPhoto(photo, name),
      () => onProblem(`${name} is not a picture this browser can read`),
    );
  const acceptFile = (file: File | null | undefined) => {
    if (file) void accept(file, file.name);
  };
  watchDrop(acceptFile);
  addEventListener('paste', (event) => acceptFile([...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith('image/'))));
  const input = element('file', HTMLInputElement);
  input.addEventListener('change', () => acceptFile(input.files?.[0]));
  watchCamera(accept, onProblem);
  offerSamples(accept, onProblem);
}

function watchDrop(onFile: (file: File | undefined) => void): void {
  const drop = element('drop', HTMLDivElement);
  addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  addEventListener('dragleave', () => drop.classList.remove('over'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    drop.classList.remove('over');
    onFile(event.dataTransfer?.files[0]);
  });
}

function offerSamples(accept: (photo: Blob, name: string) => Promise<void>, onProblem: (message: string) => void): void {
  const list = element('samples', HTMLDivElement);
  for (const { name, url, title } of samples) {
    const button = create('button', { type: 'button', title }, create('img', { src: url, alt: title, width: 96, height: 96 }));
    button.dataset['sample'] = name;
    button.addEventListener('click', () =>
      fetchSample(url).then(
        (photo) => accept(photo, title),
        (error: unknown) => onProblem(`${title} cannot be fetched: ${error instanceof Error ? error.message : error}`),
      ),
    );
    list.append(button);
  }
}

async function fetchSample(url: string): Promise<Blob> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  return response.blob();
}

function watchCamera(accept: (photo: Blob, name: string) => Promise<void>, onProblem: (message: string) => void): void {
  const button = element('camera', HTMLButtonElement);
  const video = element('viewfinder', HTMLVideoElement);
  let stream: MediaStream | undefined;
  const stop = () => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = undefined;
    video.hidden = true;
    button.textContent = 'Use the camera';
  };
  button.addEventListener('click', async () => {
    if (stream) {
      const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
      canvas.getContext('2d')?.drawImage(video, 0, 0);
      stop();
      await accept(await canvas.convertToBlob({ type: 'image/png' }), 'Camera picture');
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
      video.srcObject = stream;
      video.hidden = false;
      await video.play();
      button.textContent = 'Take the picture';
    } catch (error) {
      stop();
      onProblem(`No camera: ${error instanceof Error ? error.message : error}`);
    }
  });
}

async function showPhoto(photo: Blob, name: string): Promise<void> {
  const canvas = element('preview', HTMLCanvasElement);
  const bitmap = await createImageBitmap(photo);
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0);
  bitmap.close();
  canvas.setAttribute('aria-label', name);
  element('drop', HTMLDivElement).classList.add('filled');
}
