(** Decisions with a common cap and a given sum, any number of them. *)

From Coq Require Import Reals Lra Lia.
From Zetaplan Require Import Sums.
Open Scope R_scope.

Lemma others K u x j : (forall k, (k < K)%nat -> x k <= u) -> (j < K)%nat -> sum K x - x j <= (INR K - 1) * u.
Proof.
  intros U N. revert N. induction K as [|K IH]; intro N; [lia|]. rewrite S_INR. cbn [sum].
  destruct (Nat.eq_dec j K) as [->|D].
  - assert (sum K x <= INR K * u); [|lra].
    assert (const : sum K (fun _ => u) = INR K * u).
    { clear. induction K as [|K IH]; cbn [sum]; [cbn; ring|]. rewrite IH, S_INR. ring. }
    rewrite <- const. apply sum_le. auto.
  - assert (sum K x - x j <= (INR K - 1) * u) by (apply IH; [auto|lia]). assert (x K <= u) by auto. lra.
Qed.

(** What one layer must take if all others are at the cap. *)
Theorem least_share K s u x j : (forall k, (k < K)%nat -> x k <= u) -> sum K x = INR K * s -> (j < K)%nat ->
  INR K * s - (INR K - 1) * u <= x j.
Proof. intros U E N. pose proof (others K u x j U N). lra. Qed.

Lemma positive_part a : Rabs a = 2 * Rmax a 0 - a.
Proof.
  unfold Rabs, Rmax. destruct (Rcase_abs a); destruct (Rle_dec a 0); lra.
Qed.

(** At most K - 1 layers lie above their mean, each by at most u - s; the others lie below it by as much together. *)
Theorem mean_distance K s u x : (forall k, (k < K)%nat -> x k <= u) -> sum K x = INR K * s -> s <= u -> (0 < K)%nat ->
  sum K (fun k => Rabs (x k - s)) <= 2 * (INR K - 1) * (u - s).
Proof.
  intros U E L P.
  assert (const : forall n a, sum n (fun _ => a) = INR n * a).
  { intros n a. induction n as [|n IH]; cbn [sum]; [cbn; ring|]. rewrite IH, S_INR. ring. }
  assert (Z : sum K (fun k => x k - s) = 0) by (rewrite sum_minus, const, E; ring).
  assert (A : sum K (fun k => Rabs (x k - s)) = 2 * sum K (fun k => Rmax (x k - s) 0)).
  { rewrite (sum_ext K _ (fun k => 2 * Rmax (x k - s) 0 - (x k - s))).
    - rewrite sum_minus, sum_scaled, Z. ring.
    - intros k _. apply positive_part. }
  assert (low : exists j, (j < K)%nat /\ x j - s <= 0).
  { destruct K as [|n]; [lia|].
    assert (H : (exists j, (j < S n)%nat /\ x j - s <= 0) \/ forall k, (k < S n)%nat -> 0 < x k - s).
    { clear. induction (S n) as [|m [[j [J H]]|H]].
      - right. intros k C. lia.
      - left. exists j. split; [lia|exact H].
      - destruct (Rle_lt_dec (x m - s) 0) as [M|M]; [left; exists m; split; [lia|exact M]|].
        right. intros k C. destruct (Nat.eq_dec k m) as [->|D]; [exact M|]. apply H. lia. }
    destruct H as [H|H]; [exact H|exfalso].
    assert (0 < sum (S n) (fun k => x k - s)); [|lra].
    apply (sum_one_positive (S n) _ 0); [|lia|apply H; lia]. intros k C. left. auto. }
  destruct low as [j [N J]]. rewrite A. apply Rle_trans with (2 * ((INR K - 1) * (u - s))); [|lra].
  apply Rmult_le_compat_l; [lra|].
  assert (B : forall k, (k < K)%nat -> Rmax (x k - s) 0 <= u - s).
  { intros k C. specialize (U k C). apply Rmax_lub; lra. }
  assert (Zj : Rmax (x j - s) 0 = 0) by (apply Rmax_right; exact J).
  pose proof (others K (u - s) (fun k => Rmax (x k - s) 0) j B N) as H. cbv beta in H. rewrite Zj in H. lra.
Qed.
