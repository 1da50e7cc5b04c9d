package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

// The page follows a rollout to its end, and another one to its rollback. An operator can
// pause and promote it there.
func TestBrowserRollout(t *testing.T) {
	b := newBrowser(t)
	old, canary := newThreeTokenModel(t), newThreeTokenModel(t)
	old.pause.Store(int64(20 * time.Millisecond))
	canary.pause.Store(int64(20 * time.Millisecond))
	p := start(t, fmt.Sprintf(rolloutConfig, fmt.Sprintf(`"rollout_dir": %q,`, t.TempDir()), old.URL, canary.URL))
	b.do(chromedp.Navigate(p.private + "/admin/"))
	b.until(`rollouts.innerText.includes("running")`)
	b.click("#rollouts button[data-action=pause]")
	b.until(`rollouts.innerText.includes("paused by hand")`)
	p.sendAsUsers(0, 400)
	b.until(`rollouts.innerText.includes("enough is known")`)
	assert.Equal(t, "paused", p.rollout().State, "it waits for an operator")
	b.press("#rollouts button[data-action=promote]")
	b.until(`rollouts.querySelector("[aria-current=step]").innerText.includes("50")`)
	b.click("#rollouts button[data-action=pause]")
	p.sendAsUsers(1000, 200)
	b.until(`/^0 of [1-9]/.test(rollouts.querySelector("tbody td:nth-child(3)").innerText)`)
	b.shoot("rollout.png", "#rollouts")
	b.click("#rollouts button[data-action=resume]")
	for i := 0; i < 20 && p.rollout().State == "running"; i++ {
		p.sendAsUsers(2000+200*i, 200)
	}
	b.until(`rollouts.innerText.includes("✓ done")`)

	b.press("#rollouts button[data-action=restart]")
	b.until(`rollouts.innerText.includes("restarted by hand")`)
	canary.breakEvery.Store(3)
	for i := 0; i < 40 && p.rollout().State == "running"; i++ {
		p.sendAsUsers(10_000+50*i, 50)
	}
	b.until(`rollouts.innerText.includes("✕ rolled back")`)
	b.until(`rollouts.innerText.includes("failures: ")`)
	b.shoot("rollback.png", "#rollouts")
	assert.Empty(t, b.faults(), "errors in the console")
}
