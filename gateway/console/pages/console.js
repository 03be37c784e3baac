// The pages work without this: it only loads what is live again, and copies.
'use strict';
const body = document.body;

if (body.dataset.live === 'true') {
  const note = document.querySelector('.live');
  const button = document.getElementById('pause');
  let paused = false;
  note.hidden = false;
  button.addEventListener('click', () => {
    paused = !paused;
    note.classList.toggle('paused', paused);
    button.textContent = paused ? body.dataset.resume : body.dataset.pause;
  });
  setInterval(async () => {
    const live = document.getElementById('live');
    // Nothing moves under the hands of somebody who reads by keyboard, selects or chooses.
    if (paused || document.hidden || live.contains(document.activeElement) || String(getSelection())) return;
    try {
      const answer = await fetch(location.href, { credentials: 'same-origin' });
      if (!answer.ok) return;
      const next = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('live');
      if (next && !live.contains(document.activeElement)) live.replaceWith(document.adoptNode(next));
    } catch { /* the next time, perhaps */ }
  }, 5000);
}

for (const button of document.querySelectorAll('.copy')) {
  if (!navigator.clipboard) continue; // only where the browser lets it
  button.hidden = false;
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = body.dataset.copied;
  });
}
