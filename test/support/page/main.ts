import * as nearfar from 'nearfar';

// What tests call by page.evaluate: the public entry, as an application imports it.
declare global {
  interface Window {
    nearfar: typeof nearfar;
  }
}

window.nearfar = nearfar;
document.documentElement.dataset['ready'] = 'true';
