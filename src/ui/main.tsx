import { signal } from '@preact/signals';
import { type ComponentChild, render } from 'preact';
import { followServer } from './api/index.ts';
import { AppContext } from './context.ts';
import { followRoute } from './route.ts';
import { Shell } from './shell.tsx';

const root = document.querySelector('#app');
if (!root) throw new TypeError('the page has no place for the app');

const app = {
  live: followServer(),
  route: followRoute(),
  dialog: signal<ComponentChild>(undefined),
  notice: signal(''),
};
render(
  <AppContext.Provider value={app}>
    <Shell />
  </AppContext.Provider>,
  root,
);
