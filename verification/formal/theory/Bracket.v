(** The multiplier exists: what all layers use together is continuous in it, and takes every value in between. *)

From Coq Require Import Reals Ranalysis5 Lra Lia.
From Zetaplan Require Import Sums.
Open Scope R_scope.

Definition clip (l u x : R) : R := Rmax l (Rmin x u).

Lemma max_of_size a b : Rmax a b = / 2 * (a + b + Rabs (a - b)).
Proof. unfold Rmax, Rabs. destruct (Rle_dec a b); destruct (Rcase_abs (a - b)); lra. Qed.

Lemma min_of_size a b : Rmin a b = / 2 * (a + b - Rabs (a - b)).
Proof. unfold Rmin, Rabs. destruct (Rle_dec a b); destruct (Rcase_abs (a - b)); lra. Qed.

Lemma continuous_ext f h t : (forall x, f x = h x) -> continuity_pt f t -> continuity_pt h t.
Proof.
  intros E C eps P. destruct (C eps P) as [d [D H]]. exists d. split; [exact D|].
  intros x X. rewrite <- !E. now apply H.
Qed.

Lemma size_continuous f t : continuity_pt f t -> continuity_pt (fun x => Rabs (f x)) t.
Proof. intro C. apply (continuity_pt_comp f Rabs); [exact C|apply Rcontinuity_abs]. Qed.

Lemma constant a t : continuity_pt (fun _ => a) t.
Proof. apply continuity_pt_const. intros x y. reflexivity. Qed.

(** A decision that is clipped to its box is as continuous as it is without a box. *)
Theorem clip_continuous l u f t : continuity_pt f t -> continuity_pt (fun x => clip l u (f x)) t.
Proof.
  intro C. unfold clip.
  assert (M : continuity_pt (fun x => Rmin (f x) u) t).
  { apply (continuous_ext (fun x => / 2 * ((f x + u) - Rabs (f x - u)))); [intro; symmetry; apply min_of_size|].
    apply continuity_pt_mult; [apply constant|]. apply continuity_pt_minus.
    - apply continuity_pt_plus; [exact C|apply constant].
    - apply size_continuous, continuity_pt_minus; [exact C|apply constant]. }
  apply (continuous_ext (fun x => / 2 * ((l + Rmin (f x) u) + Rabs (l - Rmin (f x) u))));
    [intro; symmetry; apply max_of_size|].
  apply continuity_pt_mult; [apply constant|]. apply continuity_pt_plus.
  - apply continuity_pt_plus; [apply constant|exact M].
  - apply size_continuous, continuity_pt_minus; [apply constant|exact M].
Qed.

Lemma sum_continuous K (h : nat -> R -> R) t : (forall k, (k < K)%nat -> continuity_pt (h k) t) ->
  continuity_pt (fun x => sum K (fun k => h k x)) t.
Proof.
  induction K as [|K IH]; intro H; cbn [sum]; [apply constant|].
  apply continuity_pt_plus; [apply IH; auto|auto].
Qed.

(** Between a multiplier at which the layers use at least the limit and one at which they use at most the limit, there
    is one at which they use it up. *)
Theorem root_exists K (h : nat -> R -> R) a b limit : a <= b ->
  (forall k t, (k < K)%nat -> a <= t <= b -> continuity_pt (h k) t) ->
  sum K (fun k => h k b) <= limit <= sum K (fun k => h k a) ->
  exists t, a <= t <= b /\ sum K (fun k => h k t) = limit.
Proof.
  intros L C [B A]. destruct (Req_dec (sum K (fun k => h k a)) limit) as [E|NA]; [exists a; lra|].
  destruct (Req_dec (sum K (fun k => h k b)) limit) as [E|NB]; [exists b; lra|].
  destruct (Req_dec a b) as [E|D]; [subst; lra|].
  destruct (IVT_interv (fun t => limit - sum K (fun k => h k t)) a b) as [z [Z0 Z1]]; [|lra|lra|lra|].
  - intros t T. apply continuity_pt_minus; [apply constant|]. apply sum_continuous. intros k N. now apply C.
  - exists z. split; [exact Z0|lra].
Qed.

(** A line that is clipped to a box stays on its side between two levels at which it is on the same side: so what all
    layers use together is a line there. *)
Theorem one_side p r l u a b t : l <= u -> 0 <= p -> a <= t <= b ->
  (p * b + r <= l -> clip l u (p * t + r) = l) /\
  (u <= p * a + r -> clip l u (p * t + r) = u) /\
  (l <= p * a + r -> p * b + r <= u -> clip l u (p * t + r) = p * t + r).
Proof.
  intros L P [A B]. pose proof (Rmult_le_compat_l p a t P A). pose proof (Rmult_le_compat_l p t b P B). unfold clip.
  split; [|split]; intros.
  - rewrite Rmin_left by lra. apply Rmax_left. lra.
  - rewrite Rmin_right by lra. apply Rmax_right. lra.
  - rewrite Rmin_left by lra. apply Rmax_right. lra.
Qed.

(** With p >= 0 the use rises with the level. *)
Theorem use_rises K (a p r l u : nat -> R) s t : (forall k, (k < K)%nat -> 0 <= a k /\ 0 <= p k) -> s <= t ->
  sum K (fun k => a k * clip (l k) (u k) (p k * s + r k)) <= sum K (fun k => a k * clip (l k) (u k) (p k * t + r k)).
Proof.
  intros H L. apply sum_le. intros k N. destruct (H k N) as [A P]. apply Rmult_le_compat_l; [exact A|].
  unfold clip. apply Rle_max_compat_l. unfold Rmin.
  assert (p k * s <= p k * t) by (apply Rmult_le_compat_l; assumption).
  destruct (Rle_dec (p k * s + r k) (u k)); destruct (Rle_dec (p k * t + r k) (u k)); lra.
Qed.
