import { createClient } from 'nearfar';
import { type UseModelOptions, useModel } from 'nearfar/react';
import { createElement, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';

// A component around useModel, mounted twice by StrictMode as applications in development are.

const client = createClient({ models: '/models', backends: ['tfjs-wasm'] });

declare global {
  interface Window {
    /** Opens another model, or the same with other options. */
    show(name: string, options?: UseModelOptions): void;
    unmount(): void;
  }
}

function Classifier() {
  const [{ name, options }, set] = useState<{ name: string; options: UseModelOptions }>({
    name: 'everyday10',
    options: { mode: 'only-on-device' },
  });
  window.show = (name, options = {}) => set({ name, options });
  // A list made anew at each render must not open the model again.
  const { model, progress, error } = useModel(client, name, { ...options, backends: ['tfjs-wasm'] });
  // Each line on the console fails the test.
  if (model && model.info.name !== name) console.error(`handed out ${model.info.name} where ${name} was asked for`);
  const text = error instanceof Error ? `error ${'code' in error ? error.code : ''}` : model ? `open ${model.info.name}` : 'opening';
  return createElement('output', { 'data-phase': progress.phase, 'data-loaded': progress.loaded }, text);
}

const root = createRoot(document.body.appendChild(document.createElement('main')));
root.render(createElement(StrictMode, null, createElement(Classifier)));
window.unmount = () => root.unmount();
document.documentElement.dataset['ready'] = 'true';
