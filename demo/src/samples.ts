/** The sample pictures: drawn in code (`demo/samples/*.svg`), rendered to PNG when the page is built. */
export const samples: readonly { readonly name: string; readonly title: string; readonly url: string }[] = [
  { name: 'airplane', title: 'An airliner in a pale blue sky' },
  { name: 'ship', title: 'A freighter on a calm sea' },
  { name: 'horse', title: 'A brown horse in a meadow' },
  { name: 'automobile', title: 'A blue car at the kerb' },
  { name: 'frog', title: 'A green frog on brown leaves' },
  { name: 'truck', title: 'A red delivery truck on a road' },
].map((sample) => ({ ...sample, url: `./samples/${sample.name}.png` }));
