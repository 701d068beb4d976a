import { createClient } from 'nearfar';

/** Classifies the photo of the page and shows the answer. */
export async function showAnswer(ownOptions) {
  const photo = document.querySelector('#photo');
  const answer = document.querySelector('#answer');
  const options = JSON.parse(new URLSearchParams(location.search).get('options') ?? '{}');
  try {
    await photo.decode();
    const client = createClient({ models: '/models', ...ownOptions, ...options });
    const model = await client.open('everyday10', { mode: 'only-on-device' });
    const { predictions, run } = await model.classify(photo, { topK: 3 });
    await model.close();
    answer.textContent = JSON.stringify({ predictions, run });
    document.documentElement.dataset.state = 'answered';
  } catch (error) {
    answer.textContent = `${error.code ?? error.name}: ${error.message}`;
    document.documentElement.dataset.state = 'failed';
  }
}
