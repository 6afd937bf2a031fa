// Elements from values. Text is only ever set as text, never read as markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = ["svg", "polyline", "line"];

/** An element with attributes and children; what is `null` or `false` is left out. */
export function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.includes(tag)
    ? document.createElementNS(SVG, tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter(child => child != null && child !== false));
  return element;
}

/**
 * Makes the children of `shown` those of `fresh`, and keeps elements that stay: whoever has the focus keeps it,
 * and what was unfolded stays open. Children with a `data-key` are found by it wherever they stand.
 */
export function update(shown, fresh) {
  const focused = document.activeElement;
  updateChildren(shown, [...fresh]);
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function updateChildren(shown, fresh) {
  fresh.forEach((wanted, index) => {
    const there = shown.childNodes[index];
    const known = sameIn(shown, wanted, there);
    if (known == null) {
      shown.insertBefore(wanted, there ?? null);
      return;
    }
    if (known !== there) shown.insertBefore(known, there);
    updateNode(known, wanted);
  });
  while (shown.childNodes.length > fresh.length) shown.lastChild.remove();
}

function sameIn(shown, wanted, there) {
  const key = wanted.dataset?.key;
  if (key != null) {
    return [...shown.children].find(child => child.dataset.key === key && child.nodeName === wanted.nodeName);
  }
  const isSame = there != null && there.nodeName === wanted.nodeName && there.dataset?.key == null;
  return isSame ? there : null;
}

function updateNode(shown, fresh) {
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== fresh.data) shown.data = fresh.data;
    return;
  }
  for (const { name } of [...shown.attributes]) {
    if (name !== "open" && !fresh.hasAttribute(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== "open" && shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  updateChildren(shown, [...fresh.childNodes]);
}
