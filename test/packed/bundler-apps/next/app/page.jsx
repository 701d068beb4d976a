'use client';

import { useEffect } from 'react';
import { showAnswer } from '../../show-answer.js';

export default function Page() {
  useEffect(() => void showAnswer({}), []);
  return (
    <main>
      {/* biome-ignore lint/performance/noImgElement: the page is served as files, without Next's image server */}
      <img id="photo" src="./photo.png" alt="" />
      <pre id="answer" />
    </main>
  );
}
